"""Who gets in, and where, by the settings: for daemons and their check."""

from __future__ import annotations

import ipaddress

from eyasd.config import Settings
from eyasd.core.errors import StartupFailed


def check_exposure(settings: Settings) -> None:
    """Refuses to let strangers in by oversight. Raises StartupFailed.

    The page of metrics is not asked about: it changes nothing and shows no picture, and Prometheus has to reach it.
    """
    api = settings.api
    if api.insecure or has_credentials(settings):
        return
    for setting, address in (("api.listen", api.listen), ("api.http_listen", api.http_listen)):
        if address is not None and not is_loopback(address):
            raise StartupFailed(
                f"{setting} is {address}, which other machines reach, and no credential is set, so that anybody could train and "
                "delete: set api.token, listen on 127.0.0.1, or say --insecure (api.insecure = true) where the network keeps "
                "strangers out."
            )


def has_credentials(settings: Settings) -> bool:
    """Returns whether callers have to say who they are."""
    return settings.api.token is not None


def is_loopback(address: str) -> bool:
    """Returns whether only this machine reaches HOST:PORT; of names it is known of `localhost` alone."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
