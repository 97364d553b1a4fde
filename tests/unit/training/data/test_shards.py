"""Tar shards give the listing of the folder that they were made of; or one sentence that names the example."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from archives import special, tarred
from eyasd.core.errors import BadDataset
from eyasd.core.tasks import Sources
from eyasd.training.data.content import content_of
from eyasd.training.data.dataset import open_dataset
from eyasd.training.data.listing import Listing, list_files
from eyasd.training.data.shards import split_of_shard
from eyasd.training.journal import Journal

Opened = Callable[[Path | str], Listing]
ALL = ("train", "validation", "test")


@pytest.fixture
def opened(tmp_path: Path, journal: Journal) -> Opened:
    return lambda path: open_dataset(str(path), tmp_path / "job", journal, Sources())


@pytest.fixture
def sharded(tmp_path: Path) -> Callable[..., Path]:
    """Writes shards, each given by its files, into a folder."""

    def write(**shards: dict[str, bytes | tarfile.TarInfo]) -> Path:
        folder = tmp_path / "shards"
        for name, files in shards.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".tar").write_bytes(tarred(files))
        return folder

    return write


def shards_of(root: Path, note: str, count: int = 3) -> dict[str, dict[str, bytes | tarfile.TarInfo]]:
    """Packs a folder of class folders; the label is in a note of that suffix."""
    shards: dict[str, dict[str, bytes | tarfile.TarInfo]] = {f"s-{number:03}": {} for number in range(count)}
    for number, file in enumerate(list_files(root).files):
        key = file.name.removesuffix(".png")
        said = {".cls": file.label, ".txt": f"{file.label}\n", ".json": json.dumps({"label": file.label, "width": 40})}[note]
        shards[f"s-{number % count:03}"] |= {f"{key}.png": file.path.read_bytes(), f"{key}{note}": said.encode()}
    return shards


def facts(listing: Listing) -> list[tuple[str, str, str | None, bytes]]:
    return [(file.name, file.label, file.split, content_of(file, 10**6)) for file in listing.files]


@pytest.mark.parametrize("note", [".cls", ".json", ".txt"])
def test_shards_are_the_folder_that_was_packed(
    squares: Callable[..., Path], sharded: Callable[..., Path], opened: Opened, note: str
) -> None:
    root = squares({"red": 4, "blue": 3})
    folder = sharded(**shards_of(root, note))
    expected = facts(list_files(root))
    assert facts(opened(folder)) == facts(opened(f"{folder}/s-{{000..002}}.tar")) == expected
    (folder / "list.csv").write_text("shard\ns-{000..001}.tar\ns-002.tar\n")
    (folder.parent / "elsewhere.jsonl").write_text(f'{{"shard": "{folder}/s-{{000..002}}.tar"}}\n')
    assert (
        facts(opened(folder / "list.csv")) == facts(opened(folder)) == facts(opened(folder.parent / "elsewhere.jsonl")) == expected
    )


def test_a_number_is_a_label_like_another(sharded: Callable[..., Path], opened: Opened) -> None:
    folder = sharded(a={"1.jpg": b"x", "1.cls": b"7\n", "2.jpg": b"y", "2.json": b'{"label": 7}'})
    assert [file.label for file in opened(folder).files] == ["7", "7"]


def test_what_each_note_is_good_for(sharded: Callable[..., Path], opened: Opened) -> None:
    folder = sharded(
        a={
            "1.jpg": b"1", "1.cls": b"hat", "1.json": b'{"label": "no", "group": "g", "url": "x"}', "1.txt": b"a caption",
            "2.jpg": b"2", "2.json": b'{"label": "shoe"}', "2.txt": b"a caption", "3.txt": b"no picture", "d/4.npy": b"",
        }
    )  # fmt: skip
    listing = opened(folder)
    assert [(file.name, file.labels, file.group) for file in listing.files] == [
        ("1.jpg", ("hat",), "g"),
        ("2.jpg", ("shoe",), None),
    ]
    assert listing.warnings == ("Left out 2 files of the shards, with the suffixes '.npy', '.txt'.",)


def test_several_labels(sharded: Callable[..., Path], opened: Opened) -> None:
    folder = sharded(a={"1.jpg": b"1", "1.json": b'{"labels": ["red", "hat"]}', "2.jpg": b"2", "2.json": b'{"labels": []}'})
    listing = opened(folder)
    assert [file.labels for file in listing.files] == [("hat", "red"), ()]
    assert listing.multi_label


class TestSplits:
    @pytest.mark.parametrize(("name", "split"), [
        ("train-000.tar", "train"), ("VAL_1.tar", "validation"), ("test.tar", "test"), ("test/000.tar", "test"),
        ("a/valid/1.tar", "validation"), ("training-0.tar", None), ("000.tar", None), ("test/x/0.tar", None),
    ])  # fmt: skip
    def test_are_told_by_the_shards_name(self, name: str, split: str | None) -> None:
        assert split_of_shard(name) == split

    @pytest.mark.parametrize("pattern", ["{}-0", "{}__0"])
    def test_of_every_shard(self, sharded: Callable[..., Path], opened: Opened, pattern: str) -> None:
        listing = opened(sharded(**{pattern.format(s): {"1.jpg": b"1", "1.cls": b"a"} for s in ALL}))
        assert listing.splits == ALL
        # Keys that several shards use are told apart by the shard.
        assert [file.name for file in listing.files] == [f"{s}{pattern[2:].replace('__', '/')}.tar/1.jpg" for s in sorted(ALL)]

    def test_or_of_none(self, sharded: Callable[..., Path], opened: Opened) -> None:
        listing = opened(sharded(**{"train-0": {"1.jpg": b"1", "1.cls": b"a"}, "more-0": {"2.jpg": b"1", "2.cls": b"a"}}))
        assert listing.splits == ()

    def test_by_the_manifest_or_the_example(self, sharded: Callable[..., Path], opened: Opened) -> None:
        folder = sharded(a={"1.jpg": b"1", "1.cls": b"a"}, b={"2.jpg": b"2", "2.json": b'{"label": "a", "split": "Val"}'})
        (folder / "s.csv").write_text("shard,split\na.tar,train\nb.tar,test\n")
        assert [file.split for file in opened(folder / "s.csv").files] == ["train", "validation"]

    def test_mixed(self, sharded: Callable[..., Path], opened: Opened) -> None:
        folder = sharded(
            a={"1.jpg": b"1", "1.json": b'{"label": "a", "split": "test"}', "2.jpg": b"2", "2.json": b'{"label": "a"}'}
        )
        with pytest.raises(BadDataset, match="The example '2' of 'a.tar' has no split, but the example '1' of 'a.tar' has one"):
            opened(folder)


class TestHostile:
    """Nothing is unpacked, so that nothing can be written; but what is refused in an archive is refused here, too."""

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ({"../evil.jpg": b"x"}, "holds '../evil.jpg', which would leave the archive's own folder"),
            ({"/evil.jpg": b"x"}, "which would leave"),
            ({"a\\b.jpg": b"x"}, "a character that no path may have"),
            ({"1.jpg": special("1.jpg", tarfile.SYMTYPE, "/etc/passwd")}, "holds '1.jpg', a link"),
            ({"1.jpg": special("1.jpg", tarfile.LNKTYPE, "2.jpg")}, "a link"),
            ({"1.jpg": special("1.jpg", tarfile.CHRTYPE)}, "neither a plain file nor a folder"),
            ({"1.jpg": b"", "1.png": b""}, "holds '1.png', a second picture of the key '1'; an example has one"),
            ({"1.jpg": b"", "1.cls": b"x" * 70_000}, "holds '1.cls', which is longer than 65,536 bytes"),
            ({"1.jpg": b"", "1.cls": b"\xff"}, "holds '1.cls', which is not UTF-8"),
            ({"1.jpg": b"", "1.json": b"[" * 9000}, "The example '1' of 'a.tar' has a .json that is not a JSON object"),
            ({"1.jpg": b"", "1.json": b'{"label": ["x"]}'}, "The example '1' of 'a.tar' has a list as its label"),
            ({"1.jpg": b"", "1.json": b'{"label": "x", "split": "dev"}'}, "has the split 'dev'"),
            ({"1.jpg": b""}, "The example '1' of 'a.tar' has no label"),
            ({"d/1.jpg": b"", "d/1.cls": b" \n"}, "The example 'd/1' of 'a.tar' has no label"),
            ({"1.cls": b"x"}, "hold no pictures: an example is KEY.jpg with its label in KEY.cls, KEY.json or KEY.txt"),
        ],
    )  # fmt: skip
    def test_a_sentence_names_it(
        self, sharded: Callable[..., Path], opened: Opened, files: dict[str, bytes | tarfile.TarInfo], message: str
    ) -> None:
        with pytest.raises(BadDataset, match=re.escape(message)):
            opened(sharded(a=files))

    @pytest.mark.parametrize("kept", [0, 700, 1100, 1540])
    def test_what_is_cut_short(self, sharded: Callable[..., Path], opened: Opened, kept: int) -> None:
        folder = sharded(a={"1.jpg": b"x" * 600, "1.cls": b"a"})
        (folder / "a.tar").write_bytes((folder / "a.tar").read_bytes()[:kept])
        with pytest.raises(BadDataset, match="The shard 'a.tar' is damaged or cut short"):
            opened(folder)

    def test_a_header_that_claims_more_than_there_is(self, sharded: Callable[..., Path], opened: Opened) -> None:
        header = tarfile.TarInfo("1.jpg")
        header.size = 8 * 10**12
        folder = sharded(a={})
        (folder / "a.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
        with pytest.raises(BadDataset, match="an entry is longer than the file"):
            opened(folder)

    def test_one_that_is_missing(self, sharded: Callable[..., Path], opened: Opened) -> None:
        folder = sharded(a0={"1.jpg": b"x", "1.cls": b"a"})
        with pytest.raises(BadDataset, match="There is no shard '.*a1.tar': check the range, or the manifest"):
            opened(f"{folder}/a{{0..1}}.tar")

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ('shard\na.tar\n""\n', "Line 3 of 's.csv' has no shard"),
            ("shard\na-{2..1}.tar\n", "Line 2 of 's.csv' names no shards: '{2..1}' in 'a-{2..1}.tar' must run"),
            ("shard,split\na.tar,dev\n", "Line 2 of 's.csv' has the split 'dev'"),
            ("shard,split\na.tar,test\nb.tar,\n", "Line 3 of 's.csv' has no split, but line 2 of 's.csv' has one"),
            ("shard,split\na.tar\n", "no column 'path'"),
        ],
    )
    def test_a_manifest_of_shards_that_is_wrong(
        self, sharded: Callable[..., Path], opened: Opened, rows: str, message: str
    ) -> None:
        folder = sharded(a={"1.jpg": b"x", "1.cls": b"a"})
        (folder / "s.csv").write_text(rows)
        with pytest.raises(BadDataset, match=re.escape(message)):
            opened(folder / "s.csv")


def test_an_archive_of_shards_is_read(sharded: Callable[..., Path], opened: Opened, tmp_path: Path) -> None:
    folder = sharded(a={"1.jpg": b"x", "1.cls": b"a"})
    (tmp_path / "packed.tar").write_bytes(tarred({"shards/a.tar": (folder / "a.tar").read_bytes()}))
    (tmp_path / "job").mkdir()
    assert facts(opened(tmp_path / "packed.tar")) == [("1.jpg", "a", None, b"x")]
