"""Documents that are read strictly: a bundle's manifest and arrays, what the registry and jobs keep, an uploaded dataset's list."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from builders import golden, kept_answers, write_bundle
from eyasd.api.messages.promotion import alias_message, policy_message
from eyasd.api.messages.traffic import traffic_message
from eyasd.api.messages.versions import version_message
from eyasd.core import document
from eyasd.core.activation import HeadWeights
from eyasd.core.answers import KeptAnswers
from eyasd.core.bundle import EXPLAIN, GOLDEN, MANIFEST, Golden, Manifest
from eyasd.core.bundle import read_manifest as read_bundle
from eyasd.core.datasets import HEADER, Blob, DatasetFile, DatasetRecord, read_manifest
from eyasd.core.errors import BrokenBundle, EyasError, InvalidArgument
from eyasd.core.jobs import Job, JobType
from eyasd.core.names import ModelRef
from eyasd.core.promotion import AliasRecord, Policy, PolicyRecord
from eyasd.core.spec import TrainSpec
from eyasd.core.traffic import Canary, Shadow, TrafficRecord
from eyasd.jobs.progress import ProgressLine, event_of
from fuzz.target import Target, sentence
from hostile.damage import damaged_json
from uploads import manifest_lines

_NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_WORDS: Final = (
    b"NaN", b"Infinity", b"1e999", b"null", b"true", b'"\\ud800"', b"[[[[[[[[", b'{"', b'":', b"[]", b"{}", b"-0.0",
    b"T00:00:00+00:00",
)  # fmt: skip


@cache
def _bundle() -> dict[str, bytes]:
    """Returns the files of a bundle, by their names."""
    with tempfile.TemporaryDirectory() as folder:
        place = write_bundle(Path(folder), explainable=True)
        return {path.name: path.read_bytes() for path in place.iterdir()}


def check_bundle(data: bytes) -> None:
    """A manifest is read as it was written, and its version can be told of; or it is refused with a sentence."""
    try:
        manifest = read_bundle(data)
    except BrokenBundle as error:
        sentence(error.message[:1_000])
        return
    written = document.dump(manifest)
    assert document.load(Manifest, written) == manifest
    try:
        message = version_message("model", 1, manifest, None, None)
    except BrokenBundle as error:
        sentence(error.message)
        return
    assert type(message).FromString(message.SerializeToString()) == message


def _kept() -> Iterator[tuple[type, object, Callable[[Any], Any]]]:
    """Yields what is kept as a document, one of each kind, and what tells callers of it."""
    target = ModelRef("a", alias="production")
    yield (
        AliasRecord,
        AliasRecord(1, 2, None, _NOW, "ann", "why", evidence=("It has 3.",)),
        partial(alias_message, "a", "production"),
    )
    policy = Policy(aliases=("production",), at_least={"accuracy": 0.5}, at_most={"log_loss": 2.0}, max_label_drop=0.1)
    yield PolicyRecord, PolicyRecord(1, policy, _NOW, "ann"), partial(policy_message, "a")
    yield TrafficRecord, TrafficRecord(1, Canary(target, 5.0), Shadow(target, 10.0), _NOW, "ann", ""), partial(traffic_message, "a")
    yield DatasetRecord, DatasetRecord(1, Blob("a" * 64, 9), 3, 100, _NOW, "ann"), str
    yield Job, Job(id="a1", type=JobType.TRAINING, create_time=_NOW, model="a", dataset="/photos", spec=TrainSpec()), str
    yield TrainSpec, TrainSpec(), str
    yield ProgressLine, ProgressLine(time=_NOW, message="Read."), str


_KEPT: Final = tuple(_kept())


def check_document(data: bytes) -> None:
    """A document of any kind is read as it was written; or it is refused."""
    kind, _, tell = _KEPT[data[0] % len(_KEPT) if data else 0]
    event_of(data[1:])
    try:
        read = document.load(kind, data[1:])
    except (ValueError, EyasError):
        return
    assert document.load(kind, document.dump(read)) == read
    tell(read)


def check_list(data: bytes) -> None:
    """A list of files is one that is written in the very same way, of paths below the dataset; or it is refused with a sentence."""
    try:
        files = list(read_manifest(data.splitlines(keepends=True), 1_000))
    except InvalidArgument as error:
        sentence(error.message)
        return
    assert b"".join(manifest_lines(reversed(files))) == data
    assert all(os.path.normpath(f"/x/{file.path}") == f"/x/{file.path}" for file in files)


_ARRAYS: Final[tuple[Callable[[bytes], object], ...]] = (Golden.from_bytes, KeptAnswers.from_bytes, HeadWeights.from_bytes)


def check_arrays(data: bytes) -> None:
    """A file of arrays is read, or is refused with a sentence, and never takes far more memory than it has bytes."""
    read = _ARRAYS[data[0] % len(_ARRAYS) if data else 0]
    with suppress(BrokenBundle):
        read(data[1:])


def _lists() -> Iterator[bytes]:
    files = [
        DatasetFile(path, Blob(f"{number:064x}", number)) for number, path in enumerate(("a.png", "b/c.jpg", "b/d/e.png", "\u00fc"))
    ]
    yield b"".join(manifest_lines(files))
    yield HEADER
    line = b"0" * 64 + b" 0 "
    for path in (
        b"../x",
        b"/x",
        b"a//b",
        b".",
        b"a\\b",
        b"\xff",
        b"a\x7f",
        b"a/" * 40 + b"b",
        b"x" * 300,
        b"a\r",
        b"",
        b"\xe2\x80\xa8",
    ):
        yield HEADER + line + path + b"\n"
    yield HEADER + line + b"a\n" + line + b"a/b\n"
    yield HEADER + line + b"b\n" + line + b"a\n"
    yield HEADER + b"0" * 64 + b" 99999999999999999999 a\n"


def _arrays() -> Iterator[bytes]:
    files = _bundle()
    for number, content in enumerate((golden().to_bytes(), kept_answers().to_bytes(), files[EXPLAIN])):
        for kind in range(3):
            yield bytes([kind]) + content if kind == number or len(content) < 2_000 else bytes([kind]) + content[:500]
    yield bytes([0]) + files[GOLDEN]


TARGETS: Final = (
    Target("bundles", check_bundle, lambda: [_bundle()[MANIFEST]], _WORDS, damaged_json, 16_384),
    Target(
        "documents",
        check_document,
        lambda: [bytes([number]) + document.dump(one).encode() for number, (_, one, _) in enumerate(_KEPT)],
        _WORDS,
        lambda data, random: data[:1] + damaged_json(data[1:], random),
    ),
    Target("lists", check_list, _lists, (HEADER, b"0" * 64 + b" 0 ", b"/../", b"\\"), most_bytes=1_000),
    Target("arrays", check_arrays, _arrays, (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"\x93NUMPY", b"'descr'", b"'shape'", b"|O", b"<U9")),
)
