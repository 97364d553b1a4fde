"""Hosts, by what is known of them without asking anybody."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches a host; of names it is known of `localhost` alone."""
    host = host.strip("[]")
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(host: str) -> bool:
    """Returns whether a host is told by its address, which nobody can lead elsewhere, not by a name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
