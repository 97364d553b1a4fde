"""core.memory: a container's limit counts, in either version of the kernel's control groups."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from eyasd.core.memory import free_bytes, memory_bytes, trim


@pytest.mark.parametrize(("root", "name"), [("", "memory.max"), ("memory", "memory.limit_in_bytes")])
def test_the_tightest_limit_around_the_process_counts(tmp_path: Path, root: str, name: str) -> None:
    (tmp_path / "own").write_text("0::/pods/eyas\n" if not root else "4:memory:/pods/eyas\n")
    for part, limit in (("pods", "2000000"), ("pods/eyas", "1000000"), ("pods/other", "10")):
        (tmp_path / root / part).mkdir(parents=True)
        (tmp_path / root / part / name).write_text(f"{limit}\n")
    assert memory_bytes(tmp_path, tmp_path / "own") == 1_000_000


def test_without_a_limit_it_is_the_machine_s(tmp_path: Path) -> None:
    machine = memory_bytes(tmp_path, tmp_path / "absent")
    assert machine > 10**8
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_bytes(tmp_path, tmp_path / "absent") == machine
    (tmp_path / "memory.max").write_text(f"{2**63 - 4096}\n")  # how version 1 says that there is none
    assert memory_bytes(tmp_path, tmp_path / "absent") == machine


@pytest.mark.parametrize(
    ("root", "limit", "used", "files"),
    [
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_what_a_container_could_still_use_is_free_files_that_can_be_read_again_among_it(
    tmp_path: Path, root: str, limit: str, used: str, files: str
) -> None:
    (tmp_path / "own").write_text("0::/pod\n" if not root else "4:memory:/pod\n")
    (tmp_path / root / "pod").mkdir(parents=True)
    for name, said in ((limit, "1000000"), (used, "700000"), ("memory.stat", f"anon 5\n{files} 50000")):
        (tmp_path / root / "pod" / name).write_text(f"{said}\n")
    assert free_bytes(tmp_path, tmp_path / "own") == 350_000
    (tmp_path / root / "pod" / used).write_text("2000000\n")
    assert free_bytes(tmp_path, tmp_path / "own") == 0


def test_without_a_container_what_the_machine_has_left_is_free(tmp_path: Path) -> None:
    assert 0 < free_bytes(tmp_path, tmp_path / "absent") < memory_bytes(tmp_path, tmp_path / "absent")


def test_what_is_free_in_the_heap_is_given_back() -> None:
    heap = ctypes.CDLL(None)
    heap.malloc.restype, heap.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    block_bytes, count = 20_000, 5_000  # each small enough to lie in the heap, and not in a mapping of its own
    blocks = []
    for _ in range(count):
        blocks += [heap.malloc(block_bytes), heap.malloc(16)]  # the small one stays, so that the heap's end does
        ctypes.memset(blocks[-2], 1, block_bytes)
    for block in blocks[::2]:
        heap.free(block)
    kept = anonymous_bytes()
    trim()
    given_back = kept - anonymous_bytes()
    for block in blocks[1::2]:
        heap.free(block)
    assert given_back > 0.5 * count * block_bytes


# In a process of its own, as it holds for the whole of one.
IN_MAPPINGS = """
import ctypes, sys
from eyasd.core.memory import keep_large_apart
heap = ctypes.CDLL(None)
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "5", "6", "7", "8", "9")]
heap.mallinfo2.restype = Info
if sys.argv[1] == "apart":
    keep_large_apart()
bytearray(20_000_000)  # from whose end glibc learns
before = heap.mallinfo2().hblkhd
held = bytearray(6_000_000)
print(heap.mallinfo2().hblkhd - before)
"""


@pytest.mark.parametrize(("way", "least", "most"), [("apart", 6_000_000, 7_000_000), ("as it is", 0, 0)])
def test_what_is_large_is_in_a_mapping_of_its_own(way: str, least: int, most: int) -> None:
    said = subprocess.run([sys.executable, "-c", IN_MAPPINGS, way], stdout=subprocess.PIPE, text=True, check=True)
    assert least <= int(said.stdout) <= most


def anonymous_bytes() -> int:
    """Returns how much memory of this process no file is behind."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))
