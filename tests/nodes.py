"""Nodes of a cluster for the tests: each a network, a host name and mounts of its own, with a link between them that can be cut."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from eyasd.core import kin

_BEGIN_SECONDS: Final = 60
_ROOT: Final = os.geteuid() == 0


class Node:
    """One of two nodes, and the pod on it: namespaces that last as long as the process that keeps them."""

    def __init__(self, name: str, address: str, keeper: subprocess.Popen[bytes]) -> None:
        self.name, self.address = name, address
        self._keeper = keeper
        self._programs: list[subprocess.Popen[bytes]] = []

    @property
    def entry(self) -> list[str]:
        """The command that begins another within the node."""
        user = [] if _ROOT else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self._keeper.pid), *user, "--mount", "--net", "--uts", "--"]

    def do(self, *command: str | Path) -> None:
        done = subprocess.run([*self.entry, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Starts a program there, which says what it says in a file."""
        with log.open("wb") as said:
            program = subprocess.Popen([*self.entry, *command], env={**os.environ, **environment}, stdout=said, stderr=said)
        self._programs.append(program)
        return program

    def end(self) -> None:
        for program in self._programs:
            for process in [*kin.descendants(program.pid), *([program.pid] if program.poll() is None else [])]:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            program.wait()
        self._keeper.kill()
        self._keeper.communicate()


class Cluster:
    """Two nodes with a wire between them, whose pods have the names that an Indexed Job and its headless Service give them."""

    def __init__(self, folder: Path, job: str) -> None:
        """Lays the wire.

        Args:
            folder: of files of its own.
            job: name of the Job and of the Service.
        """
        missing = [
            tool
            for tool in ("ip", "unshare", "nsenter")
            if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None
        ]
        if missing:
            pytest.fail(f"These tests need {', '.join(missing)}: `apt-get install iproute2 util-linux` brings them.")
        self.nodes: list[Node] = []
        first = self._begin(f"{job}-0", "10.77.0.1", [] if _ROOT else ["--user", "--map-root-user"])
        second = self._begin(f"{job}-1", "10.77.0.2", [], within=first)
        first.do("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(second._keeper.pid))
        for node in self.nodes:
            # What the kubelet writes, and what the Service's names lead to.
            hosts = folder / f"hosts-{node.name}"
            services = "".join(f"{form}{one.address} {one.name}.{job}\n" for one in self.nodes for form in ("", "::ffff:"))
            hosts.write_text(f"127.0.0.1 localhost\n{node.address} {node.name}\n{services}")
            node.do("mount", "--bind", hosts, "/etc/hosts")
            node.do("hostname", node.name)
            node.do("ip", "address", "add", f"{node.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                node.do("ip", "link", "set", device, "up")

    def _begin(self, name: str, address: str, user: Sequence[str], within: Node | None = None) -> Node:
        own = Path("/proc/self/ns/net").readlink()
        entry = within.entry if within and not _ROOT else ()
        command = [*entry, "unshare", *user, "--mount", "--net", "--uts", "--", "sleep", "infinity"]
        keeper = subprocess.Popen(command, stderr=subprocess.PIPE)
        node = Node(name, address, keeper)
        self.nodes.append(node)
        deadline = time.monotonic() + _BEGIN_SECONDS
        while Path(f"/proc/{keeper.pid}/comm").read_text() != "sleep\n":
            if keeper.poll() is not None:
                said = keeper.stderr.read().decode().strip() if keeper.stderr else ""
                pytest.fail(f"These tests need networks of their own, as root or in a user namespace: {said}.")
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert Path(f"/proc/{keeper.pid}/ns/net").readlink() != own
        return node

    def cut(self) -> None:
        """Takes the wire away, so that nobody hears of it: what is sent is lost, and no connection ends."""
        self.nodes[0].do("ip", "link", "set", "eth0", "down")

    def mend(self) -> None:
        self.nodes[0].do("ip", "link", "set", "eth0", "up")

    def end(self) -> None:
        for node in self.nodes:
            node.end()
