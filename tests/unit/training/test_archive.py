"""An archive is unpacked whole and into the job's folder, or refused with one sentence and nothing left."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyasd.core.errors import BadDataset
from eyasd.training import unpacked
from eyasd.training.archive import discard, unpack
from eyasd.training.dataset import open_dataset
from eyasd.training.journal import EVALUATION_SHARES, Interrupted, Journal

FILES = {"red/1.png": b"one", "blue/2.png": b"two", "blue/deep/3.png": b"three" * 50_000}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "a.tar": bytes, "a.tar.gz": gzip.compress, "a.tgz": gzip.compress, "a.tar.bz2": bz2.compress, "a.tar.xz": lzma.compress,
}  # fmt: skip


def zipped(files: dict[str, bytes], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(entries: dict[str, bytes | tarfile.TarInfo], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as archive:
        for name, content in entries.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """JOB_DIR, in a folder where anything that leaves it would be seen."""
    (tmp_path / "house" / "job").mkdir(parents=True)
    return tmp_path / "house" / "job"


@pytest.fixture
def journal(job: Path) -> Journal:
    return Journal(job / "progress.jsonl", EVALUATION_SHARES)


@pytest.fixture
def refusal(tmp_path: Path, job: Path, journal: Journal) -> Iterator[Callable[[str, bytes], str]]:
    """Unpacks what must be refused; returns why. Nothing may be left of it."""

    def refused(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadDataset) as caught:
            unpack(tmp_path / name, job, journal)
        return caught.value.message

    yield refused
    assert [path.name for path in job.iterdir() if path.name != "progress.jsonl"] == []
    assert list(job.parent.iterdir()) == [job]
    assert not (tmp_path / "evil").exists()


def content_of(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


class TestUnpacking:
    def test_zip(self, tmp_path: Path, job: Path, journal: Journal) -> None:
        (tmp_path / "a.zip").write_bytes(zipped({**FILES, "empty/": b"", "größe/ß.png": b"x"}))
        place = unpack(tmp_path / "a.zip", job, journal)
        assert place.parent == job
        assert content_of(place) == {**FILES, "größe/ß.png": b"x"}
        assert (place / "empty").is_dir()
        assert "Unpacked 4 files of 0.3 MB from 'a.zip'." in (job / "progress.jsonl").read_text()

    @pytest.mark.parametrize("name", COMPRESSIONS)
    def test_tar(self, tmp_path: Path, job: Path, journal: Journal, name: str) -> None:
        (tmp_path / name).write_bytes(COMPRESSIONS[name](tarred({**FILES, "empty": special("empty", tarfile.DIRTYPE)})))
        place = unpack(tmp_path / name, job, journal)
        assert content_of(place) == FILES
        assert (place / "empty").is_dir()

    def test_a_tar_may_be_compressed_otherwise_than_it_says(self, tmp_path: Path, job: Path, journal: Journal) -> None:
        (tmp_path / "a.tar.gz").write_bytes(tarred(FILES))  # as browsers store it that expand a download
        assert content_of(unpack(tmp_path / "a.tar.gz", job, journal)) == FILES

    @pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    def test_long_names_and_dots(self, tmp_path: Path, job: Path, journal: Journal, form: int) -> None:
        name = "./" + "ü" * 100 + "/" + "x" * 200
        (tmp_path / "a.tar").write_bytes(tarred({"./": special("./", tarfile.DIRTYPE), name: b"1"}, format=form))
        assert content_of(unpack(tmp_path / "a.tar", job, journal)) == {name[2:]: b"1"}

    def test_hidden_things_are_left_out_whatever_they_are(self, tmp_path: Path, job: Path, journal: Journal) -> None:
        hidden = {"__MACOSX/red/._1.png": b"x", "red/.DS_Store": b"x", "red/Thumbs.db": b"x", ".git/config": b"x"}
        (tmp_path / "a.zip").write_bytes(zipped({**hidden, **FILES}))
        assert content_of(unpack(tmp_path / "a.zip", job, journal)) == FILES
        discard(job)
        (tmp_path / "a.tar").write_bytes(tarred({**hidden, **FILES, "l": special(".git/link", tarfile.SYMTYPE, "/etc")}))
        assert content_of(unpack(tmp_path / "a.tar", job, journal)) == FILES

    def test_names_without_the_flag_of_utf_8_are_taken_as_utf_8(self, tmp_path: Path, job: Path, journal: Journal) -> None:
        content = zipped({"größe.png": b"x"}).replace("größe".encode(), b"gr\xc3\xb6\xc3\x9fe")
        flagged = content.replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00")  # flags and method in both headers
        assert flagged != content
        (tmp_path / "a.zip").write_bytes(flagged)
        assert content_of(unpack(tmp_path / "a.zip", job, journal)) == {"größe.png": b"x"}


class TestAgain:
    def test_a_later_attempt_takes_what_is_there(self, tmp_path: Path, job: Path, journal: Journal) -> None:
        (tmp_path / "a.zip").write_bytes(zipped(FILES))
        before = (unpack(tmp_path / "a.zip", job, journal) / "red" / "1.png").stat()
        after = (unpack(tmp_path / "a.zip", job, journal) / "red" / "1.png").stat()
        assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
        assert "Took the files of 'a.zip' from an earlier attempt." in (job / "progress.jsonl").read_text()

    def test_unpacked_again_the_files_are_as_old_as_before(self, tmp_path: Path, job: Path, journal: Journal) -> None:
        for name, content in {"a.zip": zipped(FILES), "a.tar": tarred(FILES)}.items():
            (tmp_path / name).write_bytes(content)
            os.utime(tmp_path / name, ns=(1, 5_000_000_001))
            for _ in range(2):
                assert (unpack(tmp_path / name, job, journal) / "red" / "1.png").stat().st_mtime_ns == 5_000_000_001
                discard(job)

    @pytest.mark.parametrize("harm", ["cut", "gone", "no mark", "damaged mark"])
    def test_what_is_not_whole_is_unpacked_again(self, tmp_path: Path, job: Path, journal: Journal, harm: str) -> None:
        (tmp_path / "a.zip").write_bytes(zipped(FILES))
        place = unpack(tmp_path / "a.zip", job, journal)
        match harm:
            case "cut":
                os.truncate(place / "red" / "1.png", 1)
            case "gone":
                (place / "red" / "1.png").unlink()
            case "no mark":
                (job / "unpacked.json").unlink()
                (place / "red" / "half.png").touch()
            case "damaged mark":
                (job / "unpacked.json").write_text("{}")
        assert content_of(unpack(tmp_path / "a.zip", job, journal)) == FILES

    def test_another_archive_of_the_same_name_is_unpacked(self, tmp_path: Path, job: Path, journal: Journal) -> None:
        for files in (FILES, {"red/9.png": b"9"}):
            (tmp_path / "a.zip").write_bytes(zipped(files))
            place = unpack(tmp_path / "a.zip", job, journal)
        assert content_of(place) == {"red/9.png": b"9"}

    def test_discarding_what_is_not_there_is_no_error(self, job: Path) -> None:
        discard(job)

    def test_it_stops_when_asked_and_leaves_nothing(self, tmp_path: Path, job: Path, journal: Journal) -> None:
        (tmp_path / "a.tar").write_bytes(tarred(FILES))
        journal.stop()
        with pytest.raises(Interrupted):
            unpack(tmp_path / "a.tar", job, journal)
        assert not (job / "unpacked").exists()


OUTSIDE = ["../evil", "/evil", "red/../../evil", "//evil", "red/.."]


class TestHostile:
    @pytest.mark.parametrize("name", OUTSIDE)
    def test_paths_that_leave(self, refusal: Callable[[str, bytes], str], name: str) -> None:
        expected = f"holds {name!r}, which would leave the archive's own folder"
        assert expected in refusal("a.zip", zipped({**FILES, name: b"x"}))
        assert expected in refusal("a.tar", tarred({**FILES, name: b"x"}))

    def test_the_path_that_leaves_may_be_a_folders(self, refusal: Callable[[str, bytes], str]) -> None:
        assert "would leave" in refusal("a.tar", tarred({"d": special("../evil", tarfile.DIRTYPE)}))
        assert "would leave" in refusal("a.zip", zipped({"../evil/": b""}))

    @pytest.mark.parametrize("name", ["..\\evil", "C:\\evil", "red\\1.png"])
    def test_backslashes(self, refusal: Callable[[str, bytes], str], name: str) -> None:
        assert "a character that no path may have" in refusal("a.zip", zipped({name: b"x"}))
        assert "a character that no path may have" in refusal("a.tar", tarred({name: b"x"}))

    def test_a_nul_in_a_name(self, refusal: Callable[[str, bytes], str]) -> None:
        assert "a character that no path may have" in refusal("a.zip", zipped({"red/1Xpng": b"x"}).replace(b"1Xpng", b"1\0png"))

    def test_writing_through_a_link(self, refusal: Callable[[str, bytes], str], tmp_path: Path) -> None:
        link = special("red", tarfile.SYMTYPE, str(tmp_path))
        assert "holds 'red', a link" in refusal("a.tar", tarred({"red": link, "red/evil": b"x"}))

    @pytest.mark.parametrize(
        ("kind", "why"),
        [
            (tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.CHRTYPE, "neither a plain file nor a folder"),
            (tarfile.BLKTYPE, "neither a plain file nor a folder"), (tarfile.FIFOTYPE, "neither a plain file nor a folder"),
            (b"Z", "neither a plain file nor a folder"),
        ],
    )  # fmt: skip
    def test_links_and_devices(self, refusal: Callable[[str, bytes], str], kind: bytes, why: str) -> None:
        assert f"holds 'odd', {why}" in refusal(
            "a.tar.gz", gzip.compress(tarred({**FILES, "odd": special("odd", kind, "red/1.png")}))
        )

    @pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
    def test_links_and_devices_in_a_zip(self, refusal: Callable[[str, bytes], str], kind: int) -> None:
        buffer = io.BytesIO(zipped(FILES))
        with zipfile.ZipFile(buffer, "a") as archive:
            entry = zipfile.ZipInfo("odd")
            entry.external_attr = (kind | 0o777) << 16
            archive.writestr(entry, "/etc/passwd")
        assert "holds 'odd', a link or a device" in refusal("a.zip", buffer.getvalue())

    def test_a_sparse_file(self, refusal: Callable[[str, bytes], str]) -> None:
        """A header of 512 bytes that claims 8 TB of zeros."""
        info = special("hole", tarfile.GNUTYPE_SPARSE)
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        header[483:495] = tarfile.itn(8 * 10**12, 12, tarfile.GNU_FORMAT)
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
        assert "neither a plain file" in refusal("a.tar", bytes(header) + bytes(1024))

    def test_a_negative_size(self, refusal: Callable[[str, bytes], str]) -> None:
        """It would lead back to its own header, again and again."""
        info = tarfile.TarInfo("loop")
        info.pax_headers = {"size": "-1024"}
        assert "size is negative" in refusal("a.tar", tarred({"loop": info}, format=tarfile.PAX_FORMAT))

    @pytest.mark.parametrize("size", [-512, 10**12])
    def test_a_header_that_claims_a_long_name(self, refusal: Callable[[str, bytes], str], size: int) -> None:
        header = bytearray(special("long", tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT))
        header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
        assert f"a header claims {size} bytes" in refusal("a.tar", bytes(header) + bytes(1024))

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
    def test_a_header_that_is_slow_to_parse(self, refusal: Callable[[str, bytes], str], kind: bytes) -> None:
        info = special("pax", kind)
        info.size = 65_024
        content = info.tobuf(tarfile.USTAR_FORMAT) + b"1" * info.size + tarred(FILES)
        assert "a header has a number of more than 255 digits" in refusal("a.tar", content)

    def test_a_picture_may_be_all_digits(self, tmp_path: Path, job: Path, journal: Journal) -> None:
        files = {"red/1.png": b"1" * 200_000}
        (tmp_path / "a.tar").write_bytes(tarred(files))
        assert content_of(unpack(tmp_path / "a.tar", job, journal)) == files

    def test_headers_within_headers(self, refusal: Callable[[str, bytes], str]) -> None:
        header = special("x", tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT)
        assert "damaged or cut short" in refusal("a.tar", header * 3000)

    def test_a_zip_that_claims_a_huge_directory(self, refusal: Callable[[str, bytes], str]) -> None:
        content = bytearray(zipped(FILES))
        with io.BytesIO() as hole:  # zip64's end record, where the directory may have any size
            size = 2**40
            hole.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, 0))
            hole.write(struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1))
            hole.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 2**32 - 1, 0, 0))
            content += hole.getvalue()
        assert "damaged or cut short" in refusal("a.zip", bytes(content))

    @pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
    def test_a_bomb(self, refusal: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setattr(unpacked, "FREE_BYTES", 1_000_000)
        files = {f"red/{i}.png": bytes(900_000) for i in range(10)}
        content = zipped(files) if name == "a.zip" else COMPRESSIONS[name](tarred(files))
        assert len(content) < 90_000
        assert f"expands to more than {max(1_000_000, 100 * len(content)):,} bytes" in refusal(name, content)

    def test_a_bomb_of_hidden_files(self, refusal: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch) -> None:
        """What is left out has to be expanded all the same."""
        monkeypatch.setattr(unpacked, "FREE_BYTES", 1_000_000)
        assert "expands to more than" in refusal("a.tar.xz", lzma.compress(tarred({".x": bytes(9_000_000), **FILES})))

    def test_a_zip_that_lies_about_a_size(self, refusal: Callable[[str, bytes], str]) -> None:
        size = struct.pack("<L", 9_000_000)
        content = zipped({"red/1.png": bytes(9_000_000)})
        assert content.count(size) == 2
        assert "Bad CRC-32" in refusal("a.zip", content.replace(size, struct.pack("<L", 10)))

    def test_too_many_entries(self, refusal: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(unpacked, "MAX_ENTRIES", 2)
        assert "more than 2 entries" in refusal("a.zip", zipped(FILES))
        assert "more than 2 entries" in refusal("a.tar", tarred(FILES))

    def test_too_deep(self, refusal: Callable[[str, bytes], str]) -> None:
        assert "in more than 32 folders" in refusal("a.tar", tarred({"a/" * 2000 + "x": b""}))

    def test_names_that_are_too_long(self, refusal: Callable[[str, bytes], str]) -> None:
        assert "whose name is too long here" in refusal("a.tar", tarred({"x" * 300: b""}))

    @pytest.mark.parametrize("names", [("red", "red/1.png"), ("red/1.png", "red")])
    def test_a_file_and_a_folder_of_one_name(self, refusal: Callable[[str, bytes], str], names: tuple[str, str]) -> None:
        assert "and something else of that name" in refusal("a.zip", zipped(dict.fromkeys(names, b"x")))

    def test_a_name_twice(self, refusal: Callable[[str, bytes], str]) -> None:
        assert "holds './a', and something else of that name" in refusal("a.tar", tarred({"a": b"1", "./a": b"2"}))

    def test_names_that_are_not_utf_8(self, refusal: Callable[[str, bytes], str]) -> None:
        expected = "holds 'red/\N{REPLACEMENT CHARACTER}.png', whose name is not UTF-8"
        assert expected in refusal("a.zip", zipped({"red/X.png": b"x"}).replace(b"red/X", b"red/\xe9"))
        latin = tarred({"red/é.png": b"x"}, format=tarfile.GNU_FORMAT, encoding="latin-1")
        assert expected in refusal("a.tar", latin)

    def test_encryption(self, refusal: Callable[[str, bytes], str]) -> None:
        content = bytearray(zipped({"red/1.png": b"one"}))
        content[content.index(b"PK\1\2") + 8] |= 1
        assert "holds 'red/1.png', which is encrypted" in refusal("a.zip", bytes(content))

    def test_an_unknown_compression(self, refusal: Callable[[str, bytes], str]) -> None:
        content = zipped({"red/1.png": b"one"}).replace(b"\x00\x00\x08\x00", b"\x00\x00\x09\x00")
        assert "is of a kind that is not read (That compression method is not supported)" in refusal("a.zip", content)


class TestDamaged:
    @pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
    @pytest.mark.parametrize("content", [b"", b"x" * 2000, b"PK\3\4"], ids=["empty", "text", "magic"])
    def test_what_is_no_archive(self, refusal: Callable[[str, bytes], str], name: str, content: bytes) -> None:
        assert f"The archive '{name}' is damaged or cut short" in refusal(name, content)

    @pytest.mark.parametrize("name", ["a.zip", *COMPRESSIONS])
    @pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
    def test_what_is_cut_short(self, refusal: Callable[[str, bytes], str], name: str, share: float) -> None:
        files = {f"red/{i}.png": np.random.default_rng(i).bytes(3000) for i in range(20)}
        content = zipped(files) if name == "a.zip" else COMPRESSIONS[name](tarred(files))
        assert "damaged or cut short" in refusal(name, content[: int(share * len(content))])

    def test_a_tar_cut_between_two_entries(self, refusal: Callable[[str, bytes], str]) -> None:
        assert "damaged or cut short (it has no end)" in refusal("a.tar", tarred({"a": b"1", "b": b"2"})[:1024])

    def test_a_damaged_header_is_not_the_end(self, refusal: Callable[[str, bytes], str]) -> None:
        content = bytearray(tarred({"a": b"1", "b": b"2"}))
        content[1024] ^= 1
        assert "damaged or cut short (there is more after a bad header" in refusal("a.tar", bytes(content))

    def test_two_tars_joined(self, refusal: Callable[[str, bytes], str]) -> None:
        assert "or after its end" in refusal("a.tar", tarred({"a": b"1"}) + tarred({"b": b"2"}))

    def test_a_wrong_checksum(self, refusal: Callable[[str, bytes], str]) -> None:
        content = bytearray(zipped({"a": b"1"}))
        content[content.index(b"PK\1\2") + 16] ^= 1
        assert "Bad CRC-32 for file 'a'" in refusal("a.zip", bytes(content))
        compressed = bytearray(gzip.compress(tarred({"a": b"1"})))
        compressed[-8] ^= 1
        assert "CRC check failed" in refusal("a.tar.gz", bytes(compressed))

    def test_a_full_disk_is_not_the_archives_fault(
        self, tmp_path: Path, job: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(unpacked.Unpacked, "_write", full)
        for name, content in {"a.zip": zipped(FILES), "a.tar.gz": gzip.compress(tarred(FILES))}.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(OSError, match="No space left"):
                unpack(tmp_path / name, job, journal)
            assert not (job / "unpacked").exists()


SAMPLES = {"any.zip": zipped({"red/1.png": b"one" * 99, "b": b""}), "any.tar": tarred({"red/1.png": b"one" * 99, "ü" * 150: b""})}


@settings(max_examples=200)
@given(
    st.sampled_from(["any.zip", *(name.replace("a.", "any.") for name in COMPRESSIONS)]),
    st.binary(max_size=60),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    st.integers(0, 10_000),
)
def test_any_bytes_are_a_listing_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, start: bytes, changes: list[tuple[int, int]], length: int
) -> None:
    """Whatever is changed, put before or cut off."""
    folder = tmp_path_factory.mktemp("any")
    content = bytearray(SAMPLES["any.zip" if name == "any.zip" else "any.tar"])
    for position, byte in changes:
        content[position % len(content)] = byte
    compress = COMPRESSIONS.get(name.replace("any.", "a."), bytes)
    (folder / name).write_bytes(start + compress(bytes(content))[: length or None])
    job = folder / "job"
    job.mkdir()
    with suppress(BadDataset):
        assert open_dataset(folder / name, job, Journal(job / "progress.jsonl", EVALUATION_SHARES)).files
    assert (job / "unpacked").exists() == (job / "unpacked.json").exists()
    assert sorted(path.name for path in folder.iterdir()) == sorted([name, "job"])
