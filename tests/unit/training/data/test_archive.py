"""An archive is unpacked whole and into the job's folder, or refused with one sentence and nothing left."""

from __future__ import annotations

import errno
import gzip
import os
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archives import COMPRESSIONS, FILES, content_of, special, tarred, zipped
from eyasd.core.errors import BadDataset
from eyasd.core.tasks import Sources
from eyasd.training.data import unpacked
from eyasd.training.data.archive import discard, unpack
from eyasd.training.data.dataset import open_dataset
from eyasd.training.journal import EVALUATION_SHARES, Interrupted, Journal


class TestUnpacking:
    def test_zip(self, tmp_path: Path, job_dir: Path, journal: Journal) -> None:
        (tmp_path / "a.zip").write_bytes(zipped({**FILES, "empty/": b"", "größe/ß.png": b"x"}))
        place = unpack(tmp_path / "a.zip", job_dir, journal)
        assert place.parent == job_dir
        assert content_of(place) == {**FILES, "größe/ß.png": b"x"}
        assert (place / "empty").is_dir()
        assert "Unpacked 4 files of 0.3 MB from 'a.zip'." in (tmp_path / "progress.jsonl").read_text()

    @pytest.mark.parametrize("name", COMPRESSIONS)
    def test_tar(self, tmp_path: Path, job_dir: Path, journal: Journal, name: str) -> None:
        (tmp_path / name).write_bytes(COMPRESSIONS[name](tarred({**FILES, "empty": special("empty", tarfile.DIRTYPE)})))
        place = unpack(tmp_path / name, job_dir, journal)
        assert content_of(place) == FILES
        assert (place / "empty").is_dir()

    def test_a_tar_may_be_compressed_otherwise_than_it_says(self, tmp_path: Path, job_dir: Path, journal: Journal) -> None:
        (tmp_path / "a.tar.gz").write_bytes(tarred(FILES))  # as browsers store it that expand a download
        assert content_of(unpack(tmp_path / "a.tar.gz", job_dir, journal)) == FILES

    @pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    def test_long_names_and_dots(self, tmp_path: Path, job_dir: Path, journal: Journal, form: int) -> None:
        name = "./" + "ü" * 100 + "/" + "x" * 200
        (tmp_path / "a.tar").write_bytes(tarred({"./": special("./", tarfile.DIRTYPE), name: b"1"}, format=form))
        assert content_of(unpack(tmp_path / "a.tar", job_dir, journal)) == {name[2:]: b"1"}

    def test_hidden_things_are_left_out_whatever_they_are(self, tmp_path: Path, job_dir: Path, journal: Journal) -> None:
        hidden = {"__MACOSX/red/._1.png": b"x", "red/.DS_Store": b"x", "red/Thumbs.db": b"x", ".git/config": b"x"}
        (tmp_path / "a.zip").write_bytes(zipped({**hidden, **FILES}))
        assert content_of(unpack(tmp_path / "a.zip", job_dir, journal)) == FILES
        discard(job_dir)
        (tmp_path / "a.tar").write_bytes(tarred({**hidden, **FILES, "l": special(".git/link", tarfile.SYMTYPE, "/etc")}))
        assert content_of(unpack(tmp_path / "a.tar", job_dir, journal)) == FILES

    def test_names_without_the_flag_of_utf_8_are_taken_as_utf_8(self, tmp_path: Path, job_dir: Path, journal: Journal) -> None:
        content = zipped({"größe.png": b"x"}).replace("größe".encode(), b"gr\xc3\xb6\xc3\x9fe")
        flagged = content.replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00")  # flags and method in both headers
        assert flagged != content
        (tmp_path / "a.zip").write_bytes(flagged)
        assert content_of(unpack(tmp_path / "a.zip", job_dir, journal)) == {"größe.png": b"x"}


class TestAgain:
    def test_a_later_attempt_takes_what_is_there(self, tmp_path: Path, job_dir: Path, journal: Journal) -> None:
        (tmp_path / "a.zip").write_bytes(zipped(FILES))
        before = (unpack(tmp_path / "a.zip", job_dir, journal) / "red" / "1.png").stat()
        after = (unpack(tmp_path / "a.zip", job_dir, journal) / "red" / "1.png").stat()
        assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
        assert "Took the files of 'a.zip' from an earlier attempt." in (tmp_path / "progress.jsonl").read_text()

    def test_unpacked_again_the_files_are_as_old_as_before(self, tmp_path: Path, job_dir: Path, journal: Journal) -> None:
        for name, content in {"a.zip": zipped(FILES), "a.tar": tarred(FILES)}.items():
            (tmp_path / name).write_bytes(content)
            os.utime(tmp_path / name, ns=(1, 5_000_000_001))
            for _ in range(2):
                assert (unpack(tmp_path / name, job_dir, journal) / "red" / "1.png").stat().st_mtime_ns == 5_000_000_001
                discard(job_dir)

    @pytest.mark.parametrize("harm", ["cut", "gone", "no mark", "damaged mark"])
    def test_what_is_not_whole_is_unpacked_again(self, tmp_path: Path, job_dir: Path, journal: Journal, harm: str) -> None:
        (tmp_path / "a.zip").write_bytes(zipped(FILES))
        place = unpack(tmp_path / "a.zip", job_dir, journal)
        match harm:
            case "cut":
                os.truncate(place / "red" / "1.png", 1)
            case "gone":
                (place / "red" / "1.png").unlink()
            case "no mark":
                (job_dir / "unpacked.json").unlink()
                (place / "red" / "half.png").touch()
            case "damaged mark":
                (job_dir / "unpacked.json").write_text("{}")
        assert content_of(unpack(tmp_path / "a.zip", job_dir, journal)) == FILES

    def test_another_archive_of_the_same_name_is_unpacked(self, tmp_path: Path, job_dir: Path, journal: Journal) -> None:
        for files in (FILES, {"red/9.png": b"9"}):
            (tmp_path / "a.zip").write_bytes(zipped(files))
            place = unpack(tmp_path / "a.zip", job_dir, journal)
        assert content_of(place) == {"red/9.png": b"9"}

    def test_discarding_what_is_not_there_changes_nothing(self, job_dir: Path) -> None:
        before = list(job_dir.iterdir())
        discard(job_dir)
        assert list(job_dir.iterdir()) == before

    def test_it_stops_when_asked_and_leaves_nothing(self, tmp_path: Path, job_dir: Path, journal: Journal) -> None:
        (tmp_path / "a.tar").write_bytes(tarred(FILES))
        journal.stop()
        with pytest.raises(Interrupted):
            unpack(tmp_path / "a.tar", job_dir, journal)
        assert not (job_dir / "unpacked").exists()


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
        self, tmp_path: Path, job_dir: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(unpacked.Unpacked, "_write", full)
        for name, content in {"a.zip": zipped(FILES), "a.tar.gz": gzip.compress(tarred(FILES))}.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(OSError, match="No space left"):
                unpack(tmp_path / name, job_dir, journal)
            assert not (job_dir / "unpacked").exists()


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
        assert open_dataset(str(folder / name), job, Journal(job / "progress.jsonl", EVALUATION_SHARES), Sources()).files
    assert (job / "unpacked").exists() == (job / "unpacked.json").exists()
    assert sorted(path.name for path in folder.iterdir()) == sorted([name, "job"])
