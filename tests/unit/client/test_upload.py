"""An upload, without a server: what is asked, what is sent, and what happens when it breaks off or files change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from eyas._dataset import UploadProgress
from eyas._errors import FailedPrecondition, InvalidArgument, Overloaded, ServerError, Unavailable
from eyas._upload import Upload
from eyas._window import PIECE_BYTES, Window
from eyas.v1 import dataset_service_pb2 as pb

LARGE = os.urandom(3 * PIECE_BYTES + 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "photos"
    made.mkdir()
    for name, content in {"a": b"one", "b": b"two", "copy": b"one", "empty": b"", "large": LARGE}.items():
        (made / name).write_bytes(content)
    return made


class Server:
    """Takes messages as the contract says; keeps what came whole, and parts."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.taken = 0

    def missing(self, call: object) -> dict[int, int]:
        asked: pb.CheckUploadRequest = call.request  # type: ignore[attr-defined]
        parts = [self.kept.get(blob.sha256) for blob in asked.blobs]
        return {
            place: len(part or b"")
            for place, (part, blob) in enumerate(zip(parts, asked.blobs, strict=True))
            if part is None or len(part) < blob.size_bytes
        }

    def take(self, messages: Iterable[pb.UploadDatasetRequest], most: int = 1000) -> None:
        for _, message in zip(range(most), messages, strict=False):
            assert sum(len(piece.content) for piece in message.pieces) <= PIECE_BYTES
            for piece in message.pieces:
                before = self.kept.get(piece.blob.sha256, b"")
                assert piece.offset == len(before)
                self.kept[piece.blob.sha256] = before + piece.content
                self.taken += len(piece.content)
                if len(self.kept[piece.blob.sha256]) == piece.blob.size_bytes:
                    assert hashlib.sha256(self.kept[piece.blob.sha256]).digest() == piece.blob.sha256


def begin(folder: Path, told: list[UploadProgress] | None = None, *, retries: bool = True) -> Upload:
    return Upload(folder, None, told.append if told is not None else None, follow_links=False, retries=retries)


def send(upload: Upload, window: Window, server: Server, most: int = 1000) -> None:
    while upload.answer(window, server.missing(upload.question(window))):
        server.take(window.messages(), most)
        upload.end_stream(window)


def listed(upload: Upload, server: Server) -> str:
    request: pb.CreateDatasetRequest = upload.call().request  # type: ignore[assignment]
    return server.kept[request.manifest.sha256].decode()


@pytest.mark.parametrize("most", [1000, 1])
def test_what_is_missing_is_sent_once_and_the_list_last(folder: Path, most: int) -> None:
    server, told = Server(), list[UploadProgress]()
    with begin(folder, told) as upload:
        for window in upload.windows():
            send(upload, window, server, most)
        lines = listed(upload, server).splitlines()
    assert lines[0] == "eyas dataset 1"
    assert lines[1:] == [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {path.name}" for path in sorted(folder.iterdir())
    ]
    distinct = 3 + 3 + len(LARGE)
    assert told[-1] == UploadProgress(5, 5, distinct + 3, distinct + 3, distinct)
    assert not upload._list.exists()


def test_a_part_that_is_there_is_gone_on_with(folder: Path) -> None:
    server = Server()
    server.kept[hashlib.sha256(LARGE).digest()] = LARGE[: PIECE_BYTES + 5]
    with begin(folder) as upload:
        send(upload, next(upload.windows()), server)
    assert server.kept[hashlib.sha256(LARGE).digest()] == LARGE
    assert server.taken == 6 + len(LARGE) - PIECE_BYTES - 5


def test_whole_content_that_only_has_to_be_kept(folder: Path) -> None:
    server = Server()
    with begin(folder) as upload:
        window = next(upload.windows())
        blobs = upload.question(window).request.blobs  # type: ignore[attr-defined]
        (large,) = [place for place, blob in enumerate(blobs) if blob.size_bytes == len(LARGE)]
        upload.answer(window, {large: len(LARGE)})
        (message,) = window.messages()
    (piece,) = message.pieces
    assert (piece.offset, piece.content) == (len(LARGE), b"")
    assert server.taken == 0


@pytest.mark.parametrize("name", ["a", "large"])
def test_a_file_that_changes_is_sent_as_it_is_then(folder: Path, name: str) -> None:
    server = Server()
    with begin(folder) as upload:
        windows = upload.windows()
        window = next(windows)
        upload.answer(window, server.missing(upload.question(window)))
        for change in (b"another", LARGE[::-1] + b"longer"):
            (folder / name).write_bytes(change)
            server.take(window.messages())
            upload.end_stream(window)
            upload.answer(window, server.missing(upload.question(window)))
        send(upload, window, server)
        send(upload, next(windows), server)
        lines = listed(upload, server)
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert f"{digest} {len(LARGE) + 6} {name}\n" in lines


def test_a_file_that_never_comes_to_rest_or_goes_is_told_of(folder: Path) -> None:
    server = Server()
    with begin(folder) as upload:
        window = next(upload.windows())
        with pytest.raises(InvalidArgument, match="being changed again and again"):
            for number in range(9):
                upload.answer(window, server.missing(upload.question(window)))
                (folder / "large").write_bytes(bytes([number]) * len(LARGE))
                server.take(window.messages())
                upload.end_stream(window)
        assert number == 2
    (folder / "b").unlink()
    with begin(folder) as upload:
        window = next(upload.windows())
        (folder / "a").unlink()
        with pytest.raises(InvalidArgument, match="was there when the upload began"):
            upload.question(window)


def test_a_stream_that_has_ended_sends_no_more(folder: Path) -> None:
    with begin(folder) as upload:
        window = next(upload.windows())
        upload.answer(window, Server().missing(upload.question(window)))
        messages = window.messages()
        next(messages)
        upload.end_stream(window)
        assert next(messages, None) is None


def test_what_the_caller_raises_reaches_the_caller(folder: Path) -> None:
    def fail(_: UploadProgress) -> None:
        raise KeyError("mine")

    server = Server()
    upload = Upload(folder, "name", None, follow_links=False, retries=True)
    window = next(upload.windows())
    upload.answer(window, server.missing(upload.question(window)))
    upload._on_progress = fail
    assert list(window.messages()) == []
    with upload, pytest.raises(KeyError, match="mine"):
        upload.end_stream(window)


def test_which_errors_pass(folder: Path) -> None:
    with begin(folder) as upload:
        with pytest.raises(Unavailable, match="nowhere"):
            upload.pause_seconds(Unavailable("nowhere"))  # no server has answered
        window = next(upload.windows())
        upload.answer(window, Server().missing(upload.question(window)))
        assert upload.pause_seconds(Unavailable("away")) == 0.2
        with pytest.raises(Overloaded):
            upload.pause_seconds(Overloaded("for good"))
        with pytest.raises(FailedPrecondition, match="full"):
            upload.pause_seconds(FailedPrecondition("full", reason="UPLOAD_TOO_LARGE"))
        lost = FailedPrecondition("lost", reason="CONTENT_MISSING")
        upload.again(lost)
        upload.again(lost)
        with pytest.raises(FailedPrecondition):
            upload.again(lost)
    with begin(folder, retries=False) as upload, pytest.raises(Unavailable, match="away"):
        upload.pause_seconds(Unavailable("away"))


def test_a_server_that_keeps_nothing_is_given_up(folder: Path) -> None:
    with begin(folder) as upload:
        window = next(upload.windows())
        with pytest.raises(ServerError, match="does not keep"):
            for _ in range(20):
                upload.answer(window, Server().missing(upload.question(window)))
                list(window.messages())
                upload.end_stream(window)
