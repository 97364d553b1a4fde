"""Says as JSON what is in the image that it runs in: `podman run -i --entrypoint python IMAGE - < docker/inside.py`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib.metadata import distributions
from importlib.util import cache_from_source, find_spec
from pathlib import Path

HOME = Path("/opt/eyas")
TOOLS = ("cc", "gcc", "g++", "clang", "ld", "as", "make", "ptxas", "nvcc", "pip", "pip3", "uv")
MODULES = ("torch", "triton", "pip", "ensurepip")
OUTSIDE = ("/dev", "/proc", "/sys", "/tmp", "/var/tmp", "/var/lib/eyas", "/run", "/var/lock")  # noqa: S108


def writable() -> list[str]:
    """Returns what this user could change but for the root file system being read-only."""
    found = []
    for folder, _, files in os.walk("/"):
        if folder.startswith(OUTSIDE):
            continue
        paths = (folder, *(os.path.join(folder, name) for name in files))  # noqa: PTH118 -- half a million of them
        found += [path for path in paths if not os.path.islink(path) and os.access(path, os.W_OK)]  # noqa: PTH114
    return found


def uncompiled() -> list[str]:
    """Returns the modules that Python would compile anew at each start."""
    return [str(path) for path in HOME.rglob("*.py") if not Path(cache_from_source(str(path))).exists() and compiles(path)]


def compiles(path: Path) -> bool:
    """Returns whether a file is Python of this version; packages have some for others."""
    try:
        compile(path.read_bytes(), path, "exec")
    except SyntaxError:
        return False
    return True


def listed() -> dict[str, str]:
    """Returns the versions that the bill of materials names."""
    materials = json.loads((HOME / "sbom.json").read_text())
    return {one["name"]: one["version"] for one in materials["components"]}


def main() -> None:
    """Prints it."""
    json.dump(
        {
            "user": f"{os.getuid()}:{os.getgid()}",
            "tools": [name for name in TOOLS if shutil.which(name)],
            "modules": [name for name in MODULES if find_spec(name)],
            "writable": writable(),
            "uncompiled": uncompiled(),
            "installed": {one.name: one.version for one in distributions(path=[str(p) for p in HOME.glob("lib/*/site-packages")])},
            "listed": listed(),
        },
        sys.stdout,
    )


main()
