"""An archive made to do harm is refused with one sentence, and nothing of it is left."""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from archives import COMPRESSIONS, FILES, content_of, special, tarred, zipped
from eyasd.training.data import unpacked
from eyasd.training.data.archive import unpack
from eyasd.training.journal import Journal

OUTSIDE = ["../evil", "/evil", "red/../../evil", "//evil", "red/.."]


@pytest.mark.parametrize("name", OUTSIDE)
def test_paths_that_leave(refusal: Callable[[str, bytes], str], name: str) -> None:
    expected = f"holds {name!r}, which would leave the archive's own folder"
    assert expected in refusal("a.zip", zipped({**FILES, name: b"x"}))
    assert expected in refusal("a.tar", tarred({**FILES, name: b"x"}))


def test_the_path_that_leaves_may_be_a_folders(refusal: Callable[[str, bytes], str]) -> None:
    assert "would leave" in refusal("a.tar", tarred({"d": special("../evil", tarfile.DIRTYPE)}))
    assert "would leave" in refusal("a.zip", zipped({"../evil/": b""}))


@pytest.mark.parametrize("name", ["..\\evil", "C:\\evil", "red\\1.png"])
def test_backslashes(refusal: Callable[[str, bytes], str], name: str) -> None:
    assert "a character that no path may have" in refusal("a.zip", zipped({name: b"x"}))
    assert "a character that no path may have" in refusal("a.tar", tarred({name: b"x"}))


def test_a_nul_in_a_name(refusal: Callable[[str, bytes], str]) -> None:
    assert "a character that no path may have" in refusal("a.zip", zipped({"red/1Xpng": b"x"}).replace(b"1Xpng", b"1\0png"))


@pytest.mark.parametrize("name", ["red/a\n.png", "red\x1b[31m/1.png", "red/1\u202egnp.png", "\u2028/1.png"])
def test_characters_that_are_not_seen(refusal: Callable[[str, bytes], str], name: str) -> None:
    for told in (refusal("a.zip", zipped({**FILES, name: b"x"})), refusal("a.tar", tarred({**FILES, name: b"x"}))):
        assert "whose name has a character that no path may have" in told
        assert told.isprintable()


def test_writing_through_a_link(refusal: Callable[[str, bytes], str], tmp_path: Path) -> None:
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
def test_links_and_devices(refusal: Callable[[str, bytes], str], kind: bytes, why: str) -> None:
    assert f"holds 'odd', {why}" in refusal("a.tar.gz", gzip.compress(tarred({**FILES, "odd": special("odd", kind, "red/1.png")})))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip(refusal: Callable[[str, bytes], str], kind: int) -> None:
    buffer = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(buffer, "a") as archive:
        entry = zipfile.ZipInfo("odd")
        entry.external_attr = (kind | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    assert "holds 'odd', a link or a device" in refusal("a.zip", buffer.getvalue())


def test_a_sparse_file(refusal: Callable[[str, bytes], str]) -> None:
    """A header of 512 bytes that claims 8 TB of zeros."""
    info = special("hole", tarfile.GNUTYPE_SPARSE)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = tarfile.itn(8 * 10**12, 12, tarfile.GNU_FORMAT)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    assert "neither a plain file" in refusal("a.tar", bytes(header) + bytes(1024))


def test_a_negative_size(refusal: Callable[[str, bytes], str]) -> None:
    """It would lead back to its own header, again and again."""
    info = tarfile.TarInfo("loop")
    info.pax_headers = {"size": "-1024"}
    assert "size is negative" in refusal("a.tar", tarred({"loop": info}, format=tarfile.PAX_FORMAT))


@pytest.mark.parametrize("size", [-512, 10**12])
def test_a_header_that_claims_a_long_name(refusal: Callable[[str, bytes], str], size: int) -> None:
    header = bytearray(special("long", tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    assert f"a header claims {size} bytes" in refusal("a.tar", bytes(header) + bytes(1024))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_is_slow_to_parse(refusal: Callable[[str, bytes], str], kind: bytes) -> None:
    info = special("pax", kind)
    info.size = 65_024
    content = info.tobuf(tarfile.USTAR_FORMAT) + b"1" * info.size + tarred(FILES)
    assert "a header has a number of more than 255 digits" in refusal("a.tar", content)


def test_a_picture_may_be_all_digits(tmp_path: Path, job_dir: Path, journal: Journal) -> None:
    files = {"red/1.png": b"1" * 200_000}
    (tmp_path / "a.tar").write_bytes(tarred(files))
    assert content_of(unpack(tmp_path / "a.tar", job_dir, journal)) == files


def test_headers_within_headers(refusal: Callable[[str, bytes], str]) -> None:
    header = special("x", tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT)
    assert "damaged or cut short" in refusal("a.tar", header * 3000)


def test_a_zip_that_claims_a_huge_directory(refusal: Callable[[str, bytes], str]) -> None:
    content = bytearray(zipped(FILES))
    with io.BytesIO() as hole:  # zip64's end record, where the directory may have any size
        size = 2**40
        hole.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, 0))
        hole.write(struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1))
        hole.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 2**32 - 1, 0, 0))
        content += hole.getvalue()
    assert "damaged or cut short" in refusal("a.zip", bytes(content))


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_a_bomb(refusal: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(unpacked, "FREE_BYTES", 1_000_000)
    files = {f"red/{i}.png": bytes(900_000) for i in range(10)}
    content = zipped(files) if name == "a.zip" else COMPRESSIONS[name](tarred(files))
    assert len(content) < 90_000
    assert f"expands to more than {max(1_000_000, 100 * len(content)):,} bytes" in refusal(name, content)


def test_a_bomb_of_hidden_files(refusal: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out has to be expanded all the same."""
    monkeypatch.setattr(unpacked, "FREE_BYTES", 1_000_000)
    assert "expands to more than" in refusal("a.tar.xz", lzma.compress(tarred({".x": bytes(9_000_000), **FILES})))


def test_a_zip_that_lies_about_a_size(refusal: Callable[[str, bytes], str]) -> None:
    size = struct.pack("<L", 9_000_000)
    content = zipped({"red/1.png": bytes(9_000_000)})
    assert content.count(size) == 2
    assert "Bad CRC-32" in refusal("a.zip", content.replace(size, struct.pack("<L", 10)))


@pytest.mark.parametrize("shared", ["all of it", "the rest"])
def test_entries_that_share_their_bytes(refusal: Callable[[str, bytes], str], shared: str) -> None:
    """A kernel of some kilobytes is claimed by every entry, or each is made to hold the ones behind it."""
    content = bytearray(zipped({f"red/{i:03}.png": b"x" if i else bytes(900_000) for i in range(100)}))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries, first = archive.infolist(), archive.infolist()[0]
        start = archive.start_dir
    for entry in entries:
        at = content.index(b"PK\1\2", start)
        start = at + 46
        if shared == "all of it":
            content[at + 42 : at + 46] = struct.pack("<L", first.header_offset)
        else:
            content[at + 20 : at + 24] = struct.pack("<L", max(0, archive.start_dir - entry.header_offset - 50))
    assert "which shares its bytes with another entry" in refusal("a.zip", bytes(content))


def test_an_archive_in_an_archive_is_a_file_like_any_other(tmp_path: Path, job_dir: Path, journal: Journal) -> None:
    files = {"red/inner.zip": zipped({"red/1.png": bytes(10_000)}), "red/inner.tar.gz": gzip.compress(tarred(FILES))}
    (tmp_path / "a.zip").write_bytes(zipped(files))
    assert content_of(unpack(tmp_path / "a.zip", job_dir, journal)) == files


def test_twins_of_case_and_of_unicode_are_two_files(tmp_path: Path, job_dir: Path, journal: Journal) -> None:
    files = {"Red/1.png": b"1", "red/1.PNG": b"2", "red/\u00e9.png": b"3", "red/e\u0301.png": b"4"}
    for name, content in (("a.zip", zipped(files)), ("a.tar", tarred(files))):
        (tmp_path / name).write_bytes(content)
        assert content_of(unpack(tmp_path / name, job_dir, journal)) == files


def test_too_many_entries(refusal: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacked, "MAX_ENTRIES", 2)
    assert "more than 2 entries" in refusal("a.zip", zipped(FILES))
    assert "more than 2 entries" in refusal("a.tar", tarred(FILES))


def test_too_many_folders_of_few_entries(refusal: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 4 KiB of the disk, and the name of one file makes 32."""
    monkeypatch.setattr(unpacked, "MAX_ENTRIES", 60)
    files = {f"{number}/" + "a/" * 30 + "1.png": b"x" for number in range(2)}
    for told in (refusal("a.zip", zipped(files)), refusal("a.tar", tarred(files))):
        assert "more than 60 entries and folders" in told


def test_folders_that_are_there_are_not_counted_again(
    tmp_path: Path, job_dir: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacked, "MAX_ENTRIES", 14)
    files = {f"red/deep/{number}.png": b"x" for number in range(10)}
    (tmp_path / "a.tar").write_bytes(
        tarred({"red": special("red", tarfile.DIRTYPE), "red/deep": special("red/deep", tarfile.DIRTYPE), **files})
    )
    assert content_of(unpack(tmp_path / "a.tar", job_dir, journal)) == files


def test_a_directory_of_too_many_entries_is_not_parsed(
    refusal: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """zipfile makes ten times as many bytes of one as it has, all at once."""
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda _: pytest.fail("it was parsed"))
    monkeypatch.setattr(unpacked, "MAX_ENTRIES", 50)
    assert "more than 50 entries" in refusal("a.zip", zipped({f"red/{number}.png": b"" for number in range(51)}))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_of_what_expands_without_a_bound(refusal: Callable[[str, bytes], str], method: int) -> None:
    """zipfile expands a piece of these as far as it goes, whatever size the header tells: 46 bytes to 46 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("red/1.png", bytes(1_000_000))
    assert "holds 'red/1.png', whose compression is not read" in refusal("a.zip", buffer.getvalue())


def test_an_xz_that_wants_much_memory(refusal: Callable[[str, bytes], str]) -> None:
    """Its header says how much of what came before has to be kept; with one that says 1.5 GiB, 137 KB of zeros took 927 MB."""
    content = bytearray(lzma.compress(tarred(FILES)))
    size = 4 * (content[12] + 1)  # of the block's header, which ends with its CRC-32
    assert content[14:16] == b"\x21\x01"  # LZMA2, and one byte that is the size of its dictionary
    content[16] = 37
    content[12 + size - 4 : 12 + size] = zlib.crc32(content[12 : 12 + size - 4]).to_bytes(4, "little")
    told = "is of a kind that is not read (xz that takes more than 256 MB to expand): pack it again"
    assert told in refusal("a.tar.xz", bytes(content))
    assert told in refusal("a.tar.xz", lzma.compress(tarred(FILES)[:512]) + bytes(content))


def test_too_deep(refusal: Callable[[str, bytes], str]) -> None:
    assert "in more than 32 folders" in refusal("a.tar", tarred({"a/" * 2000 + "x": b""}))


def test_names_that_are_too_long(refusal: Callable[[str, bytes], str]) -> None:
    assert "whose name is too long here" in refusal("a.tar", tarred({"x" * 300: b""}))


@pytest.mark.parametrize("names", [("red", "red/1.png"), ("red/1.png", "red")])
def test_a_file_and_a_folder_of_one_name(refusal: Callable[[str, bytes], str], names: tuple[str, str]) -> None:
    assert "and something else of that name" in refusal("a.zip", zipped(dict.fromkeys(names, b"x")))


def test_a_name_twice(refusal: Callable[[str, bytes], str]) -> None:
    assert "holds './a', and something else of that name" in refusal("a.tar", tarred({"a": b"1", "./a": b"2"}))


def test_names_that_are_not_utf_8(refusal: Callable[[str, bytes], str]) -> None:
    expected = "holds 'red/\N{REPLACEMENT CHARACTER}.png', whose name is not UTF-8"
    assert expected in refusal("a.zip", zipped({"red/X.png": b"x"}).replace(b"red/X", b"red/\xe9"))
    latin = tarred({"red/é.png": b"x"}, format=tarfile.GNU_FORMAT, encoding="latin-1")
    assert expected in refusal("a.tar", latin)


@pytest.mark.parametrize("kept", [b"\x81\x84", "\u00e9".encode(), b"__"])
def test_the_true_name_beside_the_one_for_old_code_pages(tmp_path: Path, job_dir: Path, journal: Journal, kept: bytes) -> None:
    """Two labels that no old code page has may be alike but for what is beside them."""
    buffer = io.BytesIO()
    labels = ("\u65e5\u672c", "\u4e2d\u56fd")
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, label in enumerate(labels):
            held = struct.pack("<BL", 1, zlib.crc32(kept + b"/%d.png" % number)) + f"{label}/1.png".encode()
            entry = zipfile.ZipInfo(f"@@/{number}.png")
            entry.extra = struct.pack("<4H", 1, 0, 0x7075, len(held)) + held
            archive.writestr(entry, label)
    (tmp_path / "a.zip").write_bytes(buffer.getvalue().replace(b"@@", kept))
    assert content_of(unpack(tmp_path / "a.zip", job_dir, journal)) == {f"{label}/1.png": label.encode() for label in labels}


def test_times_in_a_backups_headers_are_no_folders(tmp_path: Path, job_dir: Path, journal: Journal) -> None:
    """`tar --listed-incremental` writes them where others have the beginning of a long name; they were the label."""
    content = bytearray(tarred({"red/1.png": b"one"}, format=tarfile.GNU_FORMAT))
    content[345:369] = b"14213531666\x0014213531667\0"
    content[148:156] = b"%06o\0 " % (sum(content[:148]) + 8 * 32 + sum(content[156:512]))
    (tmp_path / "a.tar").write_bytes(content)
    assert content_of(unpack(tmp_path / "a.tar", job_dir, journal)) == {"red/1.png": b"one"}


def test_encryption(refusal: Callable[[str, bytes], str]) -> None:
    content = bytearray(zipped({"red/1.png": b"one"}))
    content[content.index(b"PK\1\2") + 8] |= 1
    assert "holds 'red/1.png', which is encrypted" in refusal("a.zip", bytes(content))


def test_an_unknown_compression(refusal: Callable[[str, bytes], str]) -> None:
    content = zipped({"red/1.png": b"one"}).replace(b"\x00\x00\x08\x00", b"\x00\x00\x09\x00")
    assert "holds 'red/1.png', whose compression is not read; pack it again with Deflate" in refusal("a.zip", content)
