"""The daemon's command line: `eyasd trainer | server | all`, `--check` of these, `eyasd backup | restore | token | config`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eyasd.config import Settings, describe, read_settings
from eyasd.core.errors import StartupFailed, StorageFailed
from eyasd.telemetry import logging

_ROLES = {
    "all": "train and serve in one process group, for a laptop",
    "trainer": "accept and run training and evaluation jobs",
    "server": "classify pictures; needs nothing but the repository in --data-dir",
}
# Of a container: the kernel ends it by no signal that it has not asked for.
_FIRST = 1
_SIGNALLED = 128  # as a shell has it
_COPIES = {
    "backup": "copy models, uploaded datasets and jobs, also while daemons run",
    "restore": "bring them back into an empty place, of whichever kind",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit status: 0, or 1 after one sentence on standard error."""
    options = _parser().parse_args(arguments)
    if os.getpid() == _FIRST:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(_SIGNALLED + number))
    try:
        if options.role == "token":
            return _make_token(options)
        settings = read_settings(options.config, _overrides(options))
        if options.role == "config":
            sys.stdout.write(describe(settings))
            return 0
        checks = getattr(options, "check", False)
        logging.configure("ERROR" if checks else settings.telemetry.log_level, settings.telemetry.log_format)
        if options.role in {"backup", "restore"}:
            return _copy(options, settings)
        import uvloop  # noqa: PLC0415 - `config` and `--help` need not wait for it and grpc

        from eyasd.app import Role  # noqa: PLC0415
        from eyasd.check import check  # noqa: PLC0415
        from eyasd.daemon import serve  # noqa: PLC0415

        if checks:
            return uvloop.run(check(Role(options.role), settings, logging.logger(), sys.stdout))
        return uvloop.run(serve(Role(options.role), settings, logging.logger()))
    except (StartupFailed, StorageFailed) as error:
        sys.stderr.write(f"eyasd: {error.message}\n")
        return 1


def _copy(options: argparse.Namespace, settings: Settings) -> int:
    from eyasd.backup.restoring import restore  # noqa: PLC0415 - which daemons do not need
    from eyasd.backup.saving import back_up  # noqa: PLC0415

    if options.role == "backup":
        back_up(settings, options.place, logging.logger(), sys.stdout)
    else:
        restore(settings, options.place, options.name, logging.logger(), sys.stdout)
    return 0


def _make_token(options: argparse.Namespace) -> int:
    """Prints a token, which is kept nowhere, and what is to be kept of it."""
    from eyasd.access import tokens  # noqa: PLC0415
    from eyasd.access.roles import parse_grants  # noqa: PLC0415

    try:
        expires = tokens.expiry(options.expires, datetime.now(UTC)) if options.expires else None
        token = tokens.make_token()
        line = tokens.line_of(token, options.name, parse_grants(options.roles), expires)
    except ValueError as error:
        raise StartupFailed(f"{error}.") from None
    sys.stderr.write("For the caller, shown this once:\n")
    sys.stdout.write(f"{token}\n")
    sys.stdout.flush()
    sys.stderr.write(f"\nFor the file that access.tokens names:\n{line}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eyasd",
        description="The Eyas daemon: trains, evaluates and serves image classifiers over gRPC.",
        epilog="Settings come from --config FILE (TOML), then EYASD_ROOM__KEY in the environment, then these options. "
        "`eyasd config` prints every one, with what it means.",
    )
    parser.add_argument("--version", action="version", version=f"eyasd {version('eyas')}")
    roles = parser.add_subparsers(dest="role", required=True, metavar="ROLE")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of settings")
    common.add_argument("--data-dir", type=Path, metavar="DIR", help="where models and jobs are kept (./eyas-data)")
    common.add_argument("--listen", metavar="HOST:PORT", help="the gRPC address (127.0.0.1:50051)")
    common.add_argument("--metrics-port", type=int, metavar="PORT", help="Prometheus' port, on the host of the gRPC address (9464)")
    for role, text in _ROLES.items():
        parser_of_role = roles.add_parser(role, parents=[common], help=text, description=f"eyasd {role}: {text}.")
        parser_of_role.add_argument(
            "--insecure", action="store_true", help="listen beyond this machine even without credentials (api.insecure)"
        )
        parser_of_role.add_argument("--check", action="store_true", help="try what a start needs, say how it went, and end")
    for role, text in _COPIES.items():
        parser_of_role = roles.add_parser(role, parents=[common], help=text, description=f"eyasd {role}: {text}.")
        parser_of_role.add_argument("place", metavar="PLACE", help="a folder, or s3://BUCKET/PREFIX, gs:// or az://")
    parser_of_role.add_argument("--name", help="the back-up to restore (the newest)")
    token = roles.add_parser("token", help="make a token of a caller, and its line for access.tokens", description="Makes a token.")
    token.add_argument("name", metavar="NAME", help="of the caller; several tokens may have it")
    token.add_argument(
        "--roles",
        required=True,
        help="of classify, feedback, train, admin, or ROLE:MODELS, with commas: classify:clothing*,feedback",
    )
    token.add_argument("--expires", metavar="WHEN", help="90d, or a date or time (never)")
    roles.add_parser("config", parents=[common], help="print the effective settings", description="Prints the effective settings.")
    return parser


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    if options.data_dir is not None:
        overrides["data_dir"] = options.data_dir
    api = {"listen": options.listen} if options.listen is not None else {}
    api |= {"insecure": True} if getattr(options, "insecure", False) else {}
    if api:
        overrides["api"] = api
    if options.metrics_port is not None:
        host = (options.listen or "127.0.0.1").rpartition(":")[0] or "127.0.0.1"
        overrides["telemetry"] = {"metrics_listen": f"{host}:{options.metrics_port}"}
    return overrides


if __name__ == "__main__":
    sys.exit(main())
