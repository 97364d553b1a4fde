"""Datasets that strangers packed: archives and shards, and the manifests that name their pictures."""

from __future__ import annotations

import atexit
import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Final

from archives import special, tarred, zipped
from eyasd.core.errors import BadDataset
from eyasd.training.data.archive import unpack
from eyasd.training.data.shards import Shard, read_shards
from eyasd.training.data.table import read_shard_table, read_table
from eyasd.training.journal import Journal
from fuzz.target import Target, sentence
from hostile.damage import damaged, damaged_json, damaged_tar

_FILES: Final = {"red/1.png": b"one", "blue/2.png": b"two" * 200, "blue/deep/3.png": b"three"}
_KINDS: Final[tuple[tuple[str, Callable[[bytes], bytes]], ...]] = (
    ("a.zip", bytes), ("a.tar", bytes), ("a.tar.gz", lambda data: gzip.compress(data, 1)), ("a.tar.bz2",
    lambda data: bz2.compress(data, 1)),
    ("a.tar.xz", lambda data: lzma.compress(data, preset=0)), ("b.tar", bytes),
)  # fmt: skip


class _Quiet(Journal):
    """A journal that nobody reads."""

    def message(self, text: str) -> None:
        self.moves += 1

    def _write(self) -> None:
        self.moves += 1


@cache
def _place() -> Path:
    """Returns a folder that goes with the process."""
    made = Path(tempfile.mkdtemp(prefix="eyas-fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    (made / "job").mkdir()
    (made / "evil").write_bytes(b"untouched")
    return made


def _journal() -> Journal:
    return _Quiet(_place() / "progress.jsonl", {"audit": 1})


def check_archive(data: bytes) -> None:
    """An archive becomes plain files in its own folder, or is refused and leaves nothing; outside of it nothing changes."""
    try:
        _check_archive(data, _place())
    except BaseException:
        _place.cache_clear()  # what is found there is no fault of the next input
        raise


def _check_archive(data: bytes, place: Path) -> None:
    name, packed = _KINDS[data[0] % len(_KINDS) if data else 0]
    archive, job = place / name, place / "job"
    archive.write_bytes(packed(data[1:]))
    try:
        unpack(archive, job, _journal())
    except BadDataset as error:
        told = sentence(error.message)
        left = any(job.iterdir())
    else:
        told, left = "", False
        for folder, folders, files in os.walk(job / "unpacked"):
            assert all(stat.S_ISDIR((Path(folder) / one).lstat().st_mode) for one in folders)
            assert all(stat.S_ISREG((Path(folder) / one).lstat().st_mode) for one in files)
        shutil.rmtree(job)
        job.mkdir()
    assert told.isprintable()
    assert not left
    archive.unlink()
    assert {path.name for path in place.iterdir()} == {"evil", "job"}
    assert (place / "evil").read_bytes() == b"untouched"


def check_shard(data: bytes) -> None:
    """A shard is a list of pictures that lie within it; or it is refused with a sentence."""
    path = _place() / "job" / "shard-000.tar"
    path.write_bytes(data)
    try:
        listing = read_shards([Shard(path.name, path, None)], (), _journal())
    except BadDataset as error:
        sentence(error.message)
    else:
        assert all(0 <= file.start <= file.start + (file.size_bytes or 0) <= len(data) for file in listing.files)
    path.unlink()


def check_table(data: bytes) -> None:
    """A manifest is a list of pictures below its own folder; or it is refused with a sentence that names its line."""
    path = _place() / "job" / ("table.csv" if data[:1] != b"j" else "table.jsonl")
    path.write_bytes(data[1:])
    try:
        listing = read_table(path, confined=True, exists=lambda _: True)
    except BadDataset as error:
        sentence(error.message)
    else:
        root = str(path.parent)
        assert listing.files
        assert all(os.path.normpath(file.path).startswith(f"{root}/") or str(file.path) == root for file in listing.files)
    try:
        read_shard_table(path, confined=True)
    except BadDataset as error:
        sentence(error.message)
    path.unlink()


def _tars() -> Iterator[bytes]:
    yield tarred(_FILES)
    yield tarred(_FILES, format=tarfile.GNU_FORMAT)
    yield tarred({"x" * 150 + ".png": b"1", "red/\u00fc.png": b"2"}, format=tarfile.PAX_FORMAT)
    yield tarred({"x" * 90 + "/" + "y" * 90: b"1"}, format=tarfile.USTAR_FORMAT)
    yield tarred({"x" * 250: b"1"}, format=tarfile.GNU_FORMAT)
    for kind in (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        b"Z",
    ):
        yield tarred({**_FILES, "odd": special("odd", kind, "../../evil")})
        yield tarred({"odd": special("odd", kind, "red/1.png"), "odd/evil": b"x"})
    for name in (
        "../evil",
        "/evil",
        "red/../../evil",
        "red/..",
        "a\\b",
        "a\nb",
        ".hidden/x",
        "a//b",
        "./a",
        "a/" * 40 + "b",
        "\udcff",
        " ",
        "a/",
    ):
        yield tarred({**_FILES, name: b"x"}, format=tarfile.GNU_FORMAT)
    sized = tarfile.TarInfo("loop")
    sized.pax_headers = {"size": "-1024", "path": "../evil", "mtime": "nan"}
    yield tarred({"loop": sized}, format=tarfile.PAX_FORMAT)
    sparse = tarfile.TarInfo("hole")
    sparse.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": "9" * 12,
        "GNU.sparse.name": "../evil",
    }
    yield tarred({"hole": sparse}, format=tarfile.PAX_FORMAT)
    yield tarred({"a": b"1", "./a": b"2"})
    yield tarred({"a.jpg": b"1", "a.cls": b"3", "a.json": b'{"label": "red"}', "b.png": b"2", "b.txt": b"blue"})


def _zips() -> Iterator[bytes]:
    yield zipped(_FILES)
    for name in (
        "../evil",
        "/evil",
        "red/../../evil",
        "a\\b",
        "C:\\x",
        "a\nb",
        ".hidden/x",
        "a//b",
        "a/" * 40 + "b",
        "\u00fc",
        "a/",
    ):
        yield zipped({**_FILES, name: b"x"})
    yield zipped({"red": b"1", "red/1.png": b"2"})
    for change in ("link", "stored", "comment", "bomb", "inner"):
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            entry = zipfile.ZipInfo("odd")
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16 if change == "link" else 0
            entry.compress_type = zipfile.ZIP_STORED if change == "stored" else zipfile.ZIP_BZIP2
            entry.extra = b"\1\0\x10\0" + b"\xff" * 16 if change == "comment" else b""
            archive.comment = b"c" * 50
            archive.writestr(entry, {"bomb": bytes(300_000), "inner": zipped({"a": b"x"})}.get(change, b"../evil"))
        yield buffer.getvalue()


def _archive_seeds() -> Iterator[bytes]:
    for content in _zips():
        yield b"\0" + content
    for number, content in enumerate(_tars()):
        yield bytes([1 + number % 4]) + content
        yield b"\1" + content
    for number in range(2, 5):
        yield b"\5" + _KINDS[number][1](tarred(_FILES))


def _vary_archive(data: bytes, random: Random) -> bytes:
    kind = data[0] % len(_KINDS) if data else 0
    vary = damaged_tar if 1 <= kind <= 4 else damaged
    return bytes([random.randrange(len(_KINDS)) if random.random() < 0.05 else kind]) + vary(data[1:], random)


def _tables() -> Iterator[bytes]:
    for text in (
        "path,label\na.png,red\nb/c.png,blue\n", "path,labels,split,group\na.png,red|blue,train,1\nb.png,,test,2\n",
        "\ufeffPath , Label\r\na.png,red\r\n",
        'path,label\n"a\n.png","re""d"\n', "shard,split\na-{000..003}.tar,train\nb.tar,test\n",
        "path,label\n../a.png,red\n/etc/passwd,x\n", "path,label,label\na,b,c\n",
        "path,label\na.png,red\na.png,blue\n", "path,label\na.png\n", 'path,label\n"a', "path\0,label\n", "label\nred\n",
        "shard\na-{9..0}.tar\n", "shard\na-{0..99999999999}.tar\n",
    ):  # fmt: skip
        yield b"c" + text.encode()
    for text in (
        '{"path": "a.png", "label": "red"}\n{"path": "b.png", "label": "blue", "split": "val", "group": 3}\n',
        '{"path": "a.png", "labels": ["red", "blue"]}\n',
        '{"path": "a.png", "labels": []}\n\n{"path": "b", "labels": null}\n', '{"path": "a", "path": "b", "label": "x"}',
        "[" * 2_000, '{"path": 1, "label": true}',
        '{"path": "../a", "label": "x"}', '{"shard": "a-{000..003}.tar"}\n', '{"path": "\\ud800", "label": "x"}',
        '{"path": "a", "label": 1e999, "group": NaN}', "[]", "1", "null",
    ):  # fmt: skip
        yield b"j" + text.encode()


def _vary_table(data: bytes, random: Random) -> bytes:
    if data[:1] != b"j":
        return b"c" + damaged(data[1:], random)
    lines = data[1:].splitlines(keepends=True) or [b""]
    at = random.randrange(len(lines))
    lines[at] = damaged_json(lines[at], random) + b"\n"
    return b"j" + b"".join(lines)


_WORDS: Final = (
    b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"ustar\00000", b"ustar  \0", b"././@LongLink", b"GNU.sparse.major=1",
    b"../", b"evil",
    b" size=-1\n", b" path=../evil\n", b" linkpath=/etc\n", b"\0\0\0\0\0\0\0\0", b"0000000", b"\x80\0\0\0\0\0\0\0",
)  # fmt: skip
TARGETS: Final = (
    Target("archives", check_archive, _archive_seeds, _WORDS, _vary_archive, 16_384),
    Target("shards", check_shard, _tars, (*_WORDS, b".jpg", b".cls", b".json"), damaged_tar, 16_384),
    Target("tables", check_table, _tables, (b"path", b"label", b"labels", b"split", b"group", b"shard", b"{000..003}", b'"', b"|",
    b"train", b"\r\n", b"\xef\xbb\xbf"), _vary_table),
)  # fmt: skip
