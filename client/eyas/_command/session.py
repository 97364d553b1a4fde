"""One run of the `eyas` command: the connection its options describe, and where its output goes."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from eyas._channel import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_SECONDS
from eyas._client import Client
from eyas._convert import to_json

# A pipe has no width: a row folded at 80 columns would be several lines to grep.
_PIPE_COLUMNS: Final = 10_000


# What would move the cursor, change the terminal, or turn the direction of a text; a line may end.
_UNSEEN: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class HarmlessConsole(Console):
    """A console that shows what a stranger has named as it is: a name of a picture may hold any character."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See `Console.render`."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", segment.text), segment.style)


class Session:
    """One run of the command: its connection, and where its output goes."""

    def __init__(
        self,
        *,
        address: str,
        token: str | None,
        tls: bool,
        ca: Path | None,
        cert: Path | None,
        key: Path | None,
        timeout: float,
        json: bool,
    ) -> None:
        self.json = json
        self.out = HarmlessConsole(highlight=False)
        if not self.out.is_terminal and "COLUMNS" not in os.environ:
            self.out.width = _PIPE_COLUMNS
        self.err = HarmlessConsole(stderr=True, highlight=False)
        if (cert is None) != (key is None):
            raise ValueError("--cert and --key are given together or not at all.")
        self.client = Client(
            address,
            timeout=timeout,
            tls=tls or ca is not None or cert is not None,
            root_certificates=_read(ca),
            certificate=_read(cert),
            private_key=_read(key),
            token=token,
        )

    def hint(self, command: str) -> str:
        """Returns a command that a person can run next, with the server they named."""
        address = self.client.address
        return f"eyas {command}" if address == _default_address() else f"eyas {command} --address {address}"

    def print(self, line: str) -> None:
        """Prints a line for a person, folded by the terminal alone, so that it can be copied whole."""
        self.out.print(line, markup=False, soft_wrap=True)

    def show(self, document: object, rendered: Callable[[], Any]) -> None:
        """Prints the document for a script, or what `rendered` returns for a person."""
        if self.json:
            click.echo(json.dumps(to_json(document)))
        elif self.out.is_terminal:
            self.out.print(rendered())
        else:
            with self.out.capture() as captured:
                self.out.print(rendered())
            click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))  # tables are padded to their width


_PEM: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_CONNECTION = (
    click.option("--address", metavar="HOST:PORT", help=f"The server [EYAS_ADDRESS, or {DEFAULT_ADDRESS}]."),
    click.option("--token", help="Bearer token [EYAS_TOKEN]."),
    click.option("--tls", is_flag=True, default=None, help="Encrypt, and check the server's certificate."),
    click.option("--ca", type=_PEM, help="PEM of the authority to trust; implies --tls [EYAS_CA]."),
    click.option("--cert", type=_PEM, help="PEM of a certificate of yours, if the server asks for one; implies --tls [EYAS_CERT]."),
    click.option("--key", type=_PEM, help="PEM of its private key [EYAS_KEY]."),
    click.option("--timeout", type=float, metavar="SECONDS", help=f"Deadline of a call [{DEFAULT_TIMEOUT_SECONDS:g}]."),
    click.option("--json", "json", is_flag=True, default=None, help="Print one JSON document."),
)
_NAMES = ("address", "token", "tls", "ca", "cert", "key", "timeout", "json")


def _read(file: Path | None) -> bytes | None:
    try:
        return file.read_bytes() if file is not None else None
    except OSError as error:
        raise ValueError(f"{str(file)!r} cannot be read ({error.strerror}).") from None


def _default_address() -> str:
    return os.environ.get("EYAS_ADDRESS") or DEFAULT_ADDRESS


def _defaults() -> dict[str, Any]:
    # Not click's `envvar`: a subcommand would take the environment's value over the option before it.
    token = os.environ.get("EYAS_TOKEN") or None
    return {
        "address": _default_address(),
        "token": token,
        "tls": False,
        **{name: Path(path) if (path := os.environ.get(f"EYAS_{name.upper()}")) else None for name in ("ca", "cert", "key")},
        "timeout": DEFAULT_TIMEOUT_SECONDS,
        "json": False,
    }


def connected(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the connection's options, and a session made of them.

    The options may stand before or after a subcommand; the one that stands closer wins.
    """

    @functools.wraps(function)
    def wrapper(**arguments: Any) -> Any:
        ctx = click.get_current_context()
        given = {name: value for name in _NAMES if (value := arguments.pop(name)) is not None}
        ctx.obj = {**(ctx.obj or {}), **given}
        if ctx.invoked_subcommand is not None:
            return None
        session = Session(**{**_defaults(), **ctx.obj})
        result = function(session, **arguments)
        session.client.close()  # only here: where an interrupt has hit gRPC's own code, closing would wait for ever
        return result

    for option in reversed(_CONNECTION):
        wrapper = option(wrapper)
    return wrapper
