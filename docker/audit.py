"""What is known against the packages that the images are made of: `python docker/audit.py requirements/*.txt`, or `make audit`.

By pip-audit, which asks the Python Packaging Advisory Database of each pinned version. Where nobody answers nothing is known, which
is said, and is no failure; a package that the database does not know is named, and not taken for a sound one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

_SECONDS: Final = 900


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 where something is known against a package, else 0."""
    parser = argparse.ArgumentParser(description="Tells which pinned packages have known vulnerabilities.")
    parser.add_argument("pins", nargs="+", type=Path, help="files of pinned packages, with hashes")
    sound, unknown, known = set[str](), set[str](), dict[str, list[str]]()
    for pins in parser.parse_args(arguments).pins:
        answer = _asked(pins)
        if isinstance(answer, str):
            print(f"{pins}: nobody answers, so nothing is known of its packages ({answer}).")
            continue
        for package in answer["dependencies"]:
            if "skip_reason" in package:
                unknown.add(package["name"])
            elif package["vulns"]:
                known[f"{package['name']} {package['version']}"] = [_told(vulnerability) for vulnerability in package["vulns"]]
            else:
                sound.add(package["name"])
    for name, told in sorted(known.items()):
        print(f"{name}: {'; '.join(told)}")
    print(f"{len(known)} packages have known vulnerabilities, {len(sound)} have none.")
    if unknown:
        print(f"The database answers nothing of {len(unknown)}: {', '.join(sorted(unknown))}.")
    return 1 if known else 0


def _asked(pins: Path) -> dict[str, Any] | str:
    """Returns what pip-audit says of a file, or why it says nothing."""
    # Nothing is installed or resolved: what is pinned is what is asked about.
    how = ("--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off")
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), *how]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        said = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return f"not within {_SECONDS} s"
    except ValueError:
        return next(reversed(done.stderr.strip().splitlines()), f"pip-audit ended with {done.returncode}")
    return said if isinstance(said, dict) and "dependencies" in said else "pip-audit gave another answer than its own"


def _told(vulnerability: dict[str, Any]) -> str:
    mended = ", ".join(vulnerability.get("fix_versions", ())) or "no version yet"
    return f"{vulnerability['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main())
