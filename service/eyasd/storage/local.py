"""Objects as files below a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO, FileIO
from pathlib import Path
from typing import BinaryIO, Final

from eyasd.core import room
from eyasd.core.errors import StorageFailed
from eyasd.storage.store import ABSENT, MOST_READ_BYTES, Found, Sink

# More than any file system's unit of time, the 2 s of FAT included.
_COARSE_SECONDS: Final = 3.0
_PIECE_BYTES: Final = 1 << 20
_WRITING: Final = ".writing-"
# Another file system, one that knows no links, or as many links as it knows.
_UNLINKABLE: Final = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}


class LocalStore:
    """Objects as files below a folder.

    Content is written to a hidden file beside its place, flushed to the disk, and then linked (create) or renamed (write) into
    place, and the folder is flushed too: when a call returns, a power cut does not undo it. Of a writer that was killed the hidden
    file stays; while he lives, he holds a lock on it, by which `sweep` knows.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def address(self) -> str:
        """See `BlobStore.address`."""
        return str(self._root.absolute())

    def read(self, key: str) -> bytes:
        """See `Store.read`."""
        with self._told(key), self._opened(key) as source:
            size = os.fstat(source.fileno()).st_size
            if size > MOST_READ_BYTES:
                raise OSError(errno.EOVERFLOW, f"it has {size:,} bytes, and at most {MOST_READ_BYTES:,} are read at once")
            return source.read()

    def read_into(self, key: str, sink: Sink) -> None:
        """See `Store.read_into`."""
        with self._told(key):
            source = self._opened(key)
        with source:
            while True:
                with self._told(key):
                    piece = source.read(_PIECE_BYTES)
                if not piece:
                    return
                sink.write(piece)  # whose failure is none of this store's

    def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        return os.path.isfile(f"{self._root}/{key}")  # noqa: PTH113 - a quarter of the time of is_file, and a model may have many versions

    def children(self, prefix: str) -> list[str]:
        """See `Store.children`. Hidden files, such as those being written, are not listed."""
        try:
            with self._told(prefix):
                return sorted(name for name in os.listdir(self._root / prefix) if not name.startswith("."))  # noqa: PTH208 - a third of iterdir's time
        except (FileNotFoundError, NotADirectoryError):
            return []

    def having(self, prefix: str, name: str) -> list[str]:
        """See `Store.having`."""
        return [child for child in self.children(prefix) if self.exists(f"{prefix}/{child}/{name}")]

    def keys(self, prefix: str) -> list[str]:
        """See `Store.keys`."""

        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise error

        found: list[str] = []
        with self._told(prefix):
            for place, folders, files in os.walk(self._root / prefix, onerror=fail):
                folders[:] = [name for name in folders if not name.startswith(".")]
                below = Path(place).relative_to(self._root)
                found += [(below / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(found)

    def stamp(self, prefix: str) -> Hashable | None:
        """See `Store.stamp`. A folder's time of change is coarse, so one that has just changed may have changed twice."""
        try:
            status = os.stat(f"{self._root}/{prefix}")  # noqa: PTH116 - a third of the time of Path.stat
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT
        except OSError:
            return None  # what is amiss is for `children` to say
        return (status.st_ino, status.st_mtime_ns) if time.time() - status.st_mtime > _COARSE_SECONDS else None

    def news(self) -> None:
        """See `Store.news`."""

    def tell(self) -> None:
        """See `Store.tell`: a folder's stamp has told already."""

    def create(self, key: str, content: bytes) -> bool:
        """See `Store.create`."""
        return self._create(key, BytesIO(content))

    def write(self, key: str, content: bytes) -> None:
        """See `Store.write`."""
        self._replace(key, BytesIO(content))

    def write_file(self, key: str, path: Path) -> None:
        """See `Store.write_file`."""
        with path.open("rb") as source:
            self._replace(key, source)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        with self._told(key):
            (self._root / key).unlink(missing_ok=True)
            if (self._root / key).parent.is_dir():
                _flush_folder((self._root / key).parent)

    def sweep(self, older_than_seconds: float) -> int:
        """See `Store.sweep`."""
        with self._told(""):
            left = [Path(place, name) for place, _, names in os.walk(self._root) for name in names if name.startswith(_WRITING)]
            return sum(_removed(path, older_than_seconds) for path in left)

    def create_from(self, key: str, path: Path) -> bool:
        """See `BlobStore.create_from`. On the same file system nothing is copied."""
        with self._told(key), path.open("rb") as source:
            _make_folder((self._root / key).parent)
            os.fchmod(source.fileno(), 0o644)
            os.fsync(source.fileno())
            try:
                os.link(path, self._root / key)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _UNLINKABLE:
                    raise
                return self._create(key, source)
            _flush_folder((self._root / key).parent)
        return True

    def size(self, key: str) -> int | None:
        """See `BlobStore.size`."""
        try:
            with self._told(key):
                return (self._root / key).stat().st_size
        except FileNotFoundError:
            return None

    def find(self, prefix: str) -> Iterator[Found]:
        """See `BlobStore.find`. Hidden files are not listed."""
        try:
            with self._told(prefix), os.scandir(self._root / prefix) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    key = f"{prefix}/{entry.name}" if prefix else entry.name
                    if entry.is_dir():
                        yield from self.find(key)
                    else:
                        with suppress(FileNotFoundError):  # it has gone
                            status = entry.stat()
                            yield Found(key, status.st_size, status.st_mtime)
        except FileNotFoundError:
            return

    def _create(self, key: str, content: BinaryIO) -> bool:
        with self._told(key), self._written(key, content) as written:
            try:
                os.link(written, self._root / key)
            except FileExistsError:
                return False
            _flush_folder((self._root / key).parent)
        return True

    def _replace(self, key: str, content: BinaryIO) -> None:
        with self._told(key), self._written(key, content) as written:
            os.replace(written, self._root / key)  # noqa: PTH105 - the twin of os.link above
            _flush_folder((self._root / key).parent)

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except NotADirectoryError as error:
            raise FileNotFoundError(key) from error
        except OSError as error:
            raise StorageFailed(
                f"The repository could not be used at {f'{self._root.name}/{key}'!r}: {room.told(error, self._root)}. "
                "Free or mend its disk, then try again."
            ) from error

    def _opened(self, key: str) -> FileIO:
        """Opens a file; of a pipe or a device, which somebody may have put there, nothing is waited for. Raises OSError."""
        descriptor = os.open(self._root / key, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is no regular file")
        return FileIO(descriptor)

    @contextmanager
    def _written(self, key: str, content: BinaryIO) -> Iterator[str]:
        """Yields the name of a flushed hidden file with the content, and removes it if it is still there afterwards."""
        folder = (self._root / key).parent
        descriptor, name = _begun(folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(content, file, _PIECE_BYTES)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # mkstemp makes 0600; a serving pod reads as another user
                os.fsync(file.fileno())
                yield name
        except OSError:
            Path(name).unlink(missing_ok=True)
            with suppress(OSError):  # or a disk that is full for long has a folder for each number that could not be claimed
                folder.rmdir()
            raise
        finally:
            Path(name).unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _begun(folder: Path) -> tuple[int, str]:
    """Returns the descriptor and the name of a new hidden file, which no sweep takes for left while it is open."""
    while True:
        _make_folder(folder)
        try:
            descriptor, name = tempfile.mkstemp(prefix=_WRITING, dir=folder)
        except FileNotFoundError:  # another writer, who failed, has just removed the folder that he had made
            continue
        with suppress(OSError):  # a file system without locks, which are then nobody's to find: no sweep removes anything there
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, name
        os.close(descriptor)  # a sweep has come before the lock, at a moment when clocks jumped


def _removed(path: Path, older_than_seconds: float) -> bool:
    """Removes what a writer has left, if none holds it and it is old; returns whether it did."""
    with suppress(OSError):  # it has gone, or another holds it
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(descriptor).st_mtime > older_than_seconds:
                path.unlink()
                return True
        finally:
            os.close(descriptor)
    return False
