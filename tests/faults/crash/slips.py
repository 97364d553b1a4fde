"""Whether a call slips by the shim: `python -m faults.crash.slips` does every operation once under strace, and compares.

Needs strace, so it is no test. What fails by itself, such as a folder that is made in one that is not there, changes nothing: the
shim may count it, and strace's line is passed over.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from faults.crash.points import Points
from faults.crash.scenarios import SCENARIOS
from faults.crash.shim import build

# Every call of Linux that changes what is below a folder, by the shim's word for it; "" is one that it does not know.
_CALLS: Final = {
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range", "splice"), "write"),
    **dict.fromkeys(("truncate", "ftruncate"), "truncate"),
    **dict.fromkeys(("rename", "renameat", "renameat2"), "rename"),
    **dict.fromkeys(("link", "linkat"), "link"),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), "unlink"),
    **dict.fromkeys(("mkdir", "mkdirat"), "mkdir"),
    **dict.fromkeys(("chmod", "fchmod", "fchmodat"), "mode"),
    **dict.fromkeys(("symlink", "symlinkat"), "symlink"),
    **dict.fromkeys(("mknod", "mknodat", "setxattr", "lsetxattr", "fsetxattr"), ""),
    "fallocate": "allocate",
    "utimensat": "times",
}
_LINE: Final = re.compile(r"(\w+)\((.*)\) += (-?\d+)")


def slipped(name: str) -> dict[str, tuple[int, int]]:
    """Returns how often the shim and strace saw what they do not agree on, of an operation."""
    work = Path(tempfile.mkdtemp(prefix="eyas-slips-")).resolve()
    trace = work / "trace"
    # -y: descriptors with their paths. Flushes are not traced, as the shim makes none of them.
    prefix = ["strace", "-f", "-y", "-s", "0", "-o", str(trace), "-e", "trace=execve," + ",".join(_CALLS)]
    points = Points(work, build(work), prefix)
    counted = Counter(call.what for call in points.at(name).calls if not call.is_note)
    points.close()
    seen = _of_first_fork(trace.read_text(errors="replace"), f"{work}/root")
    kinds = {*_CALLS.values()} & {*seen, *counted}
    return {kind: (counted[kind], seen[kind]) for kind in kinds if seen[kind] > counted[kind]}


def _of_first_fork(trace: str, root: str) -> Counter[str]:
    """Returns what the first fork that meets its end did below a folder, with all its threads: what is before the second fork."""
    found: Counter[str] = Counter()
    unfinished: dict[str, str] = {}
    own, first = trace.split(maxsplit=1)[0], ""
    for line in trace.splitlines():
        process, rest = line.split(maxsplit=1)
        if process == first and rest.startswith("+++ exited"):
            break
        if rest.endswith("<unfinished ...>"):
            unfinished[process] = rest.removesuffix("<unfinished ...>")
            continue
        if rest.startswith("<... "):
            rest = unfinished.pop(process, "") + rest.partition("resumed>")[2]
        call = _LINE.match(rest)
        if process != own and call and root in call[2] and not call[3].startswith("-"):
            first = first or process
            found[_CALLS[call[1]]] += 1
    return found


def main() -> None:
    """Says what slips, an operation a line."""
    for name in sys.argv[1:] or SCENARIOS:
        print(f"{name}: {slipped(name) or 'nothing slips by'}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
