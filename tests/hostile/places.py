"""Names of datasets that lead out of what may be read, or to another machine, in the ways in which others were led there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final
from urllib.parse import quote

# What they are after.
_TARGETS: Final = ("etc/passwd", "etc/shadow", "proc/self/environ", "root/.ssh/id_rsa")
_UP: Final = (
    "..", ".../..", "..;", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "%u002e%u002e", "%c0%ae%c0%ae", "\uff0e\uff0e", "..\x00",
    "..%00", ".. ", "..%20", "..\\..", "\\..\\", "%5c..%5c", "..%2f..", "..%252f..", "..%c0%af..", "....//....", "./..",
    ".//..",
)  # fmt: skip
_HOSTS: Final = (
    "0.0.0.0",  # noqa: S104 - nobody listens there
    "localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[fe80::1]", "169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "100.100.100.200",
    "10.0.0.1", "192.168.0.1", "127.0.0.1.nip.io", "example.org@127.0.0.1", "127.0.0.1#example.org", "127.0.0.1:6379",
    "\uff11\uff12\uff17.0.0.1", "localhost%00.example.org", "\u24dbocalhost",
)  # fmt: skip
_SCHEMES: Final = (
    "http", "https", "ftp", "gopher", "dict", "ldap", "jar:http", "data", "php", "HTTP", "hdfs", "webdav", "smb", "s3a",
    "s3n", "abfs", "unix", "tcp", "mlflow-artifacts", "models", "runs", "dbfs", "memory", "local-dir", "hf-hub",
)  # fmt: skip
_CLOUDS: Final = ("s3", "gs", "az", "S3", "gS")


def escaping(root: str, outside: str) -> Iterator[str]:
    """Yields names that are no files below a folder, whoever reads them and however.

    Args:
        root: the folder that may be read.
        outside: another one, where there is something to find.
    """
    for up, times, target in product(_UP, (1, 8), (*_TARGETS, outside.lstrip("/"))):
        way = "/".join([up] * times)
        yield f"{root}/{way}/{target}"
        yield f"file://{root}/{way}/{target}"
    for target in (*(f"/{target}" for target in _TARGETS), outside):
        yield from (
            target,
            f"/{target}",
            f"//{target}",
            f"{target}/",
            f"{target}\x00{root}",
            f"{target};{root}",
            f"{target}#{root}",
        )
        yield from (f"file://{target}", f"file:{target}", f"FILE://localhost{target}", f"file://{quote(target, safe='')}")
        yield from (f"file:///{quote(target, safe='')}", f"file://{root}/{quote('/../../../../../..' + target, safe='')}")
        yield from (
            f"file://{root}{quote('/../../../../../..' + target)}",
            f"{root}-beside{target}",
            f"{root}/../{target}",
            target.lstrip("/"),
        )
        yield from (f"~{target}", f"$HOME{target}", f"{{{target}}}", f"{root}/link{target}", f"{root}/link/../link{target}")


def elsewhere() -> Iterator[str]:
    """Yields names that lead to another machine, or to this one by its network."""
    for scheme, host in product(_SCHEMES, _HOSTS):
        yield f"{scheme}://{host}/photos.zip"
    for cloud, host in product(_CLOUDS, _HOSTS):
        yield f"{cloud}://{host}/photos"
        yield f"{cloud}://key:secret@{host}/photos"
        yield f"{cloud}://photos/team/../../{host}"
        yield f"{cloud}://photos/team?endpoint={host}"
    for host in _HOSTS:
        yield from (f"file://{host}/etc", f"//{host}/share", f"\\\\{host}\\share", f"s3:{host}", f"file:////{host}/etc")
