"""Names and links made to do harm: what a trainer may read is all that it reads, and what it shows is what is there."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text
from tests.faults.conftest import Tell

from eyas._command.session import HarmlessConsole
from eyasd.core.errors import BadDataset
from eyasd.training.data import content
from eyasd.training.data.content import content_of, opened
from eyasd.training.data.listing import File, check_labels, list_files
from eyasd.training.data.table import read_table

SECRET, INSIDE = b"secret", b"inside"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of pictures, out of which nothing may be read, and secrets beside it."""
    for name, written in {"root/red/1.png": INSIDE, "root/blue/1.png": INSIDE, "out/red/1.png": SECRET}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(written)
    return tmp_path / "root"


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_link_that_comes_and_goes_never_leads_out(root: Path, tmp_path: Path, swapped: str, all_faults: bool, tell: Tell) -> None:
    name, outside = (root / "red/1.png", tmp_path / "out/red/1.png") if swapped == "file" else (root / "red", tmp_path / "out/red")
    aside, link = name.with_name("aside"), tmp_path / "link"
    reads, over, read, refused = 20_000 if all_faults else 300, threading.Event(), 0, 0

    def swap() -> None:
        while not over.is_set():
            link.symlink_to(outside)
            name.rename(aside)
            link.rename(name)
            name.unlink()
            aside.rename(name)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(reads):
            try:
                found = content_of(File(root / "red/1.png", "red/1.png", ("red",), None, roots=(str(root),)), 1000)
            except OSError:
                refused += 1
            else:
                assert found == INSIDE
                read += 1
    finally:
        over.set()
        swapping.join()
    assert read + refused == reads
    tell(f"a {swapped} is swapped for a link out of a data root and back, while it is read", f"{reads:,}", "0")


@pytest.mark.parametrize("what", ["link", "pipe", "device"])
def test_what_is_swapped_between_the_look_and_the_opening(
    root: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, open_ = root / "red/1.png", os.open

    def late(name: Path, flags: int) -> int:
        path.unlink()
        match what:
            case "link":
                path.symlink_to(tmp_path / "out/red/1.png")
            case "pipe":
                os.mkfifo(path)
            case "device":
                path.symlink_to("/dev/zero")
        return open_(name, flags)

    monkeypatch.setattr(content.os, "open", late)
    with pytest.raises(OSError, match="it leads out of|it is not a file"):
        opened(path, (str(root),))


@pytest.mark.parametrize("label", ["re\nd", "re\x1b[31md", "der\u202e", "\u2066red", "re\u2028d", "r\x7fed"])
def test_labels_that_are_not_seen_as_they_are(root: Path, label: str, tmp_path: Path) -> None:
    (root / "red").rename(root / label)
    with pytest.raises(BadDataset, match="has a character that cannot be seen; rename it") as refused:
        check_labels(list_files(root))
    assert refused.value.message.isprintable()
    table = tmp_path / "table.jsonl"
    table.write_text(f'{{"path": "root/blue/1.png", "label": "blue"}}\n{{"path": "root/1.png", "label": {ascii_json(label)}}}\n')
    with pytest.raises(BadDataset, match="has a character that cannot be seen") as refused:
        check_labels(read_table(table, exists=lambda _: True))
    assert refused.value.message.isprintable()


def ascii_json(text: str) -> str:
    return '"' + "".join(f"\\u{ord(letter):04x}" for letter in text) + '"'


def test_labels_in_two_spellings_of_unicode_and_in_two_cases(root: Path) -> None:
    (root / "blue").rename(root / "Red")
    assert list_files(root).labels == ("Red", "red")
    (root / "Red").rename(root / "caf\u00e9")
    (root / "red").rename(root / "cafe\u0301")
    with pytest.raises(BadDataset, match=r"'cafe\\u0301' and 'caf\\xe9' are the same word") as refused:
        check_labels(list_files(root))
    assert refused.value.message.isprintable()


def test_pictures_whose_names_are_not_seen_are_read_and_shown_harmless(root: Path) -> None:
    for name in (b"\x1b[2J.png", b"a\tb.png", b"\xff.png", "\u202egnp.png".encode(), b"a\x7f.png"):
        Path(os.fsdecode(os.fsencode(root / "red") + b"/" + name)).write_bytes(INSIDE)
    files = list_files(root).files
    assert len(files) == 7
    assert {content_of(file, 100) for file in files} == {INSIDE}
    console = HarmlessConsole(file=io.StringIO(), force_terminal=True)
    for file in files:
        table = Table(title=file.name)
        table.add_column(Text(file.name))
        table.add_row(file.name, style="red")
        console.print(table, f"{file.name}")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.count("\N{REPLACEMENT CHARACTER}") == 4 * 4  # a tab is some spaces
    assert "\x1b[31m" in shown  # its own colours
    assert not any(seen in shown for seen in ("\x1b[2J", "\t", "\u202e", "\x7f"))
