"""The upload of a dataset: which files are looked at together, what is sent of them, and when it is sent again.

    some files, a window: digests -> which are missing? -> a stream of those -> which are missing? -> ... -> the next window
    the list of all files, likewise -> CreateDataset

Knows files and messages, and nothing of channels, threads or event loops; the two clients send. Every question is asked again after
every stream, so however one ends, the next sends only what has not come.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from eyas import _dataset_calls
from eyas._calls import Call
from eyas._dataset import Dataset, UploadProgress
from eyas._errors import Conflict, DeadlineExceeded, EyasError, FailedPrecondition, Overloaded, ServerError, Unavailable
from eyas._local_files import LocalFile, local_files, name_of
from eyas._patience import Patience
from eyas._window import Entry, Window

OnProgress = Callable[[UploadProgress], object]

# What is read for its digest is in memory still when it is sent.
_WINDOW_BYTES: Final = 64 * 1024 * 1024
_WINDOW_FILES: Final = 2000
# Servers end a stream after 4 minutes.
STREAM_TIMEOUT_SECONDS: Final = 300.0
# Of a million files it takes a server some seconds to see that all are there.
CREATE_TIMEOUT_SECONDS: Final = 600.0
_ATTEMPTS: Final = 3
_IN_VAIN: Final = 10


class Upload:
    """The upload of one dataset; a context, at whose end its list of files is removed from this machine."""

    def __init__(self, path: Path, name: str | None, on_progress: OnProgress | None, *, follow_links: bool, retries: bool) -> None:
        """Finds the files.

        Args:
            path: a folder, or an archive.
            name: of the dataset; None is that of the folder.
            on_progress: told of the progress.
            follow_links: see `local_files`.
            retries: whether what broke off is gone on with.

        Raises:
            InvalidArgument: see `local_files`.
        """
        self.name = name or name_of(path)
        self._entries = [Entry(file) for file in local_files(path, follow_links=follow_links)]
        self._size_bytes = sum(entry.file.size_bytes for entry in self._entries)
        self._on_progress = on_progress
        self._retries = retries
        self._patience = Patience()
        self._attempts = 0
        self._files = self._done_bytes = self._there_bytes = self._sent_bytes = 0
        self._lacking: int | None = None
        self._in_vain = 0
        self._answered = False
        self._manifest: Entry | None = None
        with tempfile.NamedTemporaryFile(prefix="eyas-", suffix=".list", delete=False) as file:
            self._list = Path(file.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._list.unlink(missing_ok=True)

    def windows(self) -> Iterator[Window]:
        """Yields what is to be looked at together, each once the one before is on the server; the list of files comes last."""
        self._files = self._done_bytes = 0
        some: list[Entry] = []
        size_bytes = 0
        for entry in self._entries:
            if some and (len(some) == _WINDOW_FILES or size_bytes + entry.file.size_bytes > _WINDOW_BYTES):
                yield from self._one(some)
                some, size_bytes = [], 0
            some.append(entry)
            size_bytes += entry.file.size_bytes
        yield from self._one(some)
        yield Window([self._write_list()], lambda _: None)

    def question(self, window: Window) -> Call[Mapping[int, int]]:
        """Returns the call that asks what is missing of a window; reads its files, which may take seconds."""
        self._patience.open()
        return _dataset_calls.check_upload(self.name, window.blobs(), len(self._entries), self._size_bytes)

    def answer(self, window: Window, missing: Mapping[int, int]) -> bool:
        """Takes the answer, and returns whether something is to be sent."""
        self._answered = True
        lacks = window.answer(missing)
        lacking = window.missing_bytes
        if self._lacking is None or lacking < self._lacking or not lacks:
            self._patience.hear()
            self._in_vain = 0
        self._lacking = lacking if lacks else None
        if window.entries[0] is not self._manifest:
            self._there_bytes = sum(entry.file.size_bytes for entry in window.entries) - lacking
            self._tell()
        return lacks

    def end_stream(self, window: Window) -> None:
        """A stream has ended well.

        Raises:
            EyasError: something went wrong on this side, such as a file that is gone; or what is sent does not stay on the server.
        """
        window.end_stream()
        self._in_vain += 1
        if self._in_vain > _IN_VAIN:
            raise ServerError("The server does not keep what is sent to it, though it says so: its log may say why.")

    def call(self) -> Call[Dataset]:
        """Returns the call that makes the dataset, now that all is there."""
        assert self._manifest is not None  # noqa: S101 - it is in the last window
        return _dataset_calls.create_dataset(self.name, self._manifest.look())

    def again(self, error: EyasError) -> None:
        """The dataset could not be made: returns if all of its windows are to be gone through once more, else raises the error."""
        self._attempts += 1
        if not isinstance(error, FailedPrecondition) or error.reason != "CONTENT_MISSING" or self._attempts >= _ATTEMPTS:
            raise error

    def pause_seconds(self, error: EyasError) -> float:
        """Returns how long to wait before what broke off is gone on with.

        Raises:
            EyasError: the error given: it is none that passes, no server has answered yet, or nothing has come of it for a minute.
        """
        passing = self._answered and (
            isinstance(error, Unavailable)
            or (isinstance(error, Overloaded) and error.retry_after is not None)
            or (isinstance(error, Conflict) and error.reason == "UPLOAD_CONFLICT")
            or (isinstance(error, DeadlineExceeded) and error.reason in {"", "STREAM_IDLE"})
        )
        try:
            return self._patience.break_off(Unavailable(error.message), retries=self._retries and passing)
        except EyasError:
            raise error from None

    def _one(self, entries: Sequence[Entry]) -> Iterator[Window]:
        """Yields a window, and takes down that it is on the server when the next one is asked for."""
        yield Window(entries, self._sent)
        self._files += len(entries)
        self._done_bytes += sum(entry.file.size_bytes for entry in entries)
        self._there_bytes = 0
        self._tell()

    def _sent(self, size_bytes: int) -> None:
        self._sent_bytes += size_bytes
        self._there_bytes += size_bytes
        self._tell()

    def _tell(self) -> None:
        if self._on_progress is not None:
            done_bytes = min(self._done_bytes + self._there_bytes, self._size_bytes)
            self._on_progress(UploadProgress(self._files, len(self._entries), done_bytes, self._size_bytes, self._sent_bytes))

    def _write_list(self) -> Entry:
        """Writes the list of files into a file of this machine, as it may be long."""
        with self._list.open("wb") as file:
            file.write(b"eyas dataset 1\n")
            for entry in self._entries:
                blob = entry.look()
                file.write(f"{blob.sha256.hex()} {blob.size_bytes} {entry.file.path}\n".encode())
        self._manifest = Entry(LocalFile("", str(self._list), self._list.stat().st_size))
        return self._manifest
