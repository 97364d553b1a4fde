"""The entry point of the `eyas` command. What the command does stands in `_command`; this file works without click and rich."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command and ends the process with its exit status."""
    try:
        from eyas._command.main import run  # noqa: PLC0415 - the library is of use without what the command needs
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in {"click", "rich"}:
            raise
        sys.exit(f"eyas: The command needs {package}: install it with pip install 'eyas[cli]'.")
    sys.exit(run(sys.argv[1:]))
