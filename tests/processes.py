"""Which processes a test has started, and what anybody sees of them."""

from contextlib import suppress
from pathlib import Path


def decoders(of: str = "eyasd.serving.decoding", parent: int | str = "self") -> list[int]:
    """Returns a daemon's decoders that are locked up, which they are before they get a picture."""
    found = []
    for pid in children(of, parent):
        with suppress(FileNotFoundError, ProcessLookupError):
            if "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text():
                found.append(pid)
    return found


def children(of: str = "", parent: int | str = "self") -> list[int]:
    """Returns a process's children whose command line has `of` in it; one that ends while it is looked at is none."""
    found = []
    for thread in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(pid) for pid in thread.read_text().split() if of in command(int(pid))]
    return found


def command(pid: int) -> str:
    """Returns the command line of a process, its words apart by NUL; "" of one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def listed(pid: int, *, to_all: bool = False) -> str:
    """What a list of processes shows: the command line, which everybody sees, and the environment, which its own user does."""
    return "\n".join(Path(f"/proc/{pid}/{what}").read_text() for what in ("cmdline", *(() if to_all else ("environ",))))
