"""Names: of models, versions, aliases, jobs, datasets, captured pictures, and of places and stores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from eyasd.api.messages.capture import parse_picture, picture_name
from eyasd.api.paging import decode_number, decode_token, encode_token, number_of
from eyasd.api.permissions import model_of
from eyasd.core import names
from eyasd.core.datasets import path_problem
from eyasd.core.errors import DatasetNotFound, InvalidArgument
from eyasd.core.form import expanded, form_at, is_range
from eyasd.core.names import ModelRef
from eyasd.core.places import BUCKETS, FILE, check_allowed, is_remote, place_of
from eyasd.storage.address import beside, check_address
from fuzz.target import Target, sentence, text_of
from hostile.places import elsewhere, escaping

_ROOT: Final = "/srv/photos"
_ROOTS: Final = (_ROOT, "s3://photos/team")
_FIELD: Final = "field"
_WORDS: Final = (
    b"models/", b"/versions/", b"/aliases/", b"jobs/", b"datasets/", b"/captured/", b"production", b".", b"..", b"/../", b"%2e",
    b"%00", b"%2f",
    b"file://", b"file:///", b"localhost", b"s3://", b"gs://", b"az://", b"memory://", b"@", b"127.0.0.1", b"169.254.169.254",
    b"[::1]",
    "\u0661".encode(), "\u202e".encode(), "\uff0e".encode(), b"\0", b"|", b"?", b"#", b"photos", b"team", b"//", b"{0..9}", b".tar",
)  # fmt: skip


def _read(parse: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what is read; None where it is refused with a sentence."""
    try:
        return parse(*arguments)
    except InvalidArgument as error:
        sentence(f"{error.field}: {error.message}")
        return None


def _check_safe(name: str) -> None:
    """A name that is accepted is that of a folder below another one, whatever the file system thinks of case and encoding."""
    assert os.path.normpath(f"{_ROOT}/{name}") == f"{_ROOT}/{name}"
    assert name == name.lower()
    assert name.isascii()
    assert len(name) <= 64
    assert not name.startswith(".")


def check_name(data: bytes) -> None:
    """A resource name is one that is written in the very same way, of parts that are safe as folders; or it is refused."""
    text = text_of(data)
    if (model := _read(names.parse_model, text, _FIELD)) is not None:
        assert names.model_name(model) == text
        assert model_of(text) == model
        _check_safe(model)
    ref: ModelRef | None = _read(names.parse_model_ref.__wrapped__, text, _FIELD)
    if ref is not None:
        _check_safe(ref.model)
        assert (ref.version is None) != (ref.alias is None)
        if ref.version is not None:
            assert 0 < ref.version < 10**9
            assert names.version_name(ref.model, ref.version) == text
        else:
            assert ref.alias is not None
            _check_safe(ref.alias)
            assert text in {names.alias_name(ref.model, ref.alias), names.model_name(ref.model)}
        assert model_of(text) == ref.model  # for whom the caller was let in
    if (job := _read(names.parse_job, text, _FIELD)) is not None:
        assert names.job_name(job) == text
        _check_safe(job)
    if (dataset := _read(names.parse_dataset_ref, text, _FIELD)) is not None:
        assert str(dataset) == text
        assert names.names_upload(text)
        _check_safe(dataset.dataset)
    if (picture := _read(parse_picture, text, _FIELD)) is not None:
        assert picture_name(*picture) == text
        assert model_of(text) == picture[0]
        _check_safe(picture[0])
        assert os.path.normpath(f"{_ROOT}/{picture[1]}") == f"{_ROOT}/{picture[1]}"
    if (label := _read(names.check_label, text, _FIELD)) is not None:
        assert label.isprintable() or max(label) >= "\u00a0"
        assert "|" not in label
    _read(names.check_text, text, _FIELD)
    problem = path_problem(text)
    assert problem or os.path.normpath(f"{_ROOT}/{text}") == f"{_ROOT}/{text}"


def check_place(data: bytes) -> None:
    """A dataset's name is a path or a place in a bucket, never a host, and below the roots if there are some; or it is refused."""
    text = text_of(data)
    place = _read(place_of, text)
    if place is not None:
        assert place.scheme in {FILE, *BUCKETS}
        assert place.remote == (is_remote(text))
        if place.remote:
            bucket = place.bucket.removeprefix(f"{place.scheme}://")
            assert not set("@:[]%\\?#/ ") & set(bucket)
            assert not {".", ".."} & set(place.key.split("/"))
            assert place_of(str(place)) == place
        else:
            assert place.path.startswith("/")
        if "\0" not in place.path:
            inside = _allowed(place)
            real = os.path.realpath(place.path) if not place.remote else f"/{place.path}"
            assert not inside or f"{real}/".startswith("/photos/team/" if place.remote else f"{_ROOT}/")
        else:
            assert not _allowed(place)
        with suppress(InvalidArgument, DatasetNotFound):
            form_at(place, ())
        if is_range(place.path):
            with suppress(InvalidArgument):
                assert expanded(place.path)
    try:
        address = check_address(text)
    except ValueError as error:
        sentence(str(error))
        return
    assert check_address(address) == address
    assert not set("@?#%\\ \n\0") & set(address) or address.startswith(("file:///", "s3://", "gs://", "az://"))
    assert "@" not in address.partition("://")[2].partition("/")[0]
    try:
        beside(address, "more")
    except ValueError as error:
        sentence(str(error))


def _allowed(place: Any) -> bool:
    try:
        check_allowed(place, _ROOTS)
    except InvalidArgument as error:
        sentence(error.message)
        return False
    return True


def check_token(data: bytes) -> None:
    """The token of a page is one that was made here, and means what it was made of; or it is refused."""
    text = text_of(data)
    if (key := _read(decode_token, text)) is not None:
        assert decode_token(encode_token(key)) == key
    _read(decode_number, text)
    _read(decode_number, encode_token(text))
    _read(number_of, text)


def _name_seeds() -> Iterator[bytes]:
    for text in (
        "models/a", "models/a-b.c_d9", "models/a/aliases/production", "models/a/versions/1", "models/a/versions/999999999",
        "jobs/a1b2c3",
        "datasets/photos", "datasets/photos/versions/12", "models/a/captured/0123456789abcdef", "a 1", "a production", "red shirt",
        "a/b/c.png",
        "models/" + "a" * 64, "models/a..b", "models/A", "models/a/versions/0", "models/a/versions/\u0661", "x" * 300,
        "a\u0301" * 100, "",
    ):  # fmt: skip
        yield text.encode()


def _place_seeds() -> Iterator[bytes]:
    yield from (
        text.encode()
        for text in (_ROOT, f"{_ROOT}/a", "s3://photos/team/a", "S3://photos", "gs://a.b/c", "az://abc", "file:///srv/photos/a%20b")
    )
    yield from (
        b"/srv/a-{000..009}.tar",
        b"s3://photos/a-{0..9}{0..9}.tar",
        b"/srv/{5..1}.tar",
        b"/a{0..0}{0..0}{0..999999999}.tar",
    )
    yield from (b"memory://", b"file:///srv/models/", b"s3://bucket/prefix/")
    yield from (text.encode(errors="replace") for text in islice(escaping(_ROOT, "/etc"), 0, None, 7))
    yield from (text.encode(errors="replace") for text in islice(elsewhere(), 0, None, 11))


def _token_seeds() -> Iterator[bytes]:
    for key in (
        "1",
        "0",
        "12345",
        "a",
        "1700000000000 0123456789abcdef",
        "9" * 30,
        "9" * 5_000,
        "\u0661",
        "\u00b2",
        " ",
        "datasets/a/versions/1",
    ):
        yield encode_token(key).encode()
        yield key.encode()


TARGETS: Final = (
    Target("names", check_name, _name_seeds, _WORDS, most_bytes=400),
    Target("places", check_place, _place_seeds, _WORDS, most_bytes=400),
    Target("pages", check_token, _token_seeds, (b"=", b"==", b"MQ==", b"-_", b"9" * 100), most_bytes=9_000),
)
