"""Expands an xz file in bounded memory: its own headers say how much of what came before has to be at hand, up to 4 GB."""

from __future__ import annotations

import io
import lzma
import os
from typing import IO, Final

from eyasd.training.data.unpacked import PIECE_BYTES

# `xz -9` takes 65 MiB.
MAX_MEMORY_BYTES: Final = 256 * 1024**2


def open_(file: IO[bytes]) -> io.BufferedReader:
    """Returns what a file expands to; reading raises what `lzma.open` does, and NotImplementedError where it takes much memory."""
    return io.BufferedReader(_Expanded(file), PIECE_BYTES)


class _Expanded(io.RawIOBase):
    """What the streams of a file expand to, one after another; what follows them, and is none, is left out."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._begin()

    def readable(self) -> bool:
        """Returns that it can be read."""
        return True

    def seekable(self) -> bool:
        """Returns that it can be sought in: forward by expanding, back by beginning anew."""
        return True

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        """Goes to a position from the beginning, or from here; behind the end is the end."""
        target = position + (self._position if whence == os.SEEK_CUR else 0)
        if target < self._position:
            self._begin()
        while target > self._position and self.read(min(PIECE_BYTES, target - self._position)):
            pass
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Expands as much as has room, or less; nothing at the end."""
        piece = b""
        while not piece and not self._is_over:
            piece = self._expand(len(buffer))
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _begin(self) -> None:
        self._file.seek(0)
        self._decoder = _decoder()
        self._position = 0
        self._is_over = False

    def _expand(self, most: int) -> bytes:
        if not self._decoder.eof:
            packed = self._file.read(PIECE_BYTES) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not packed:
                raise EOFError("it ends within a stream")
            return self._decompressed(packed, most)
        packed = self._decoder.unused_data or self._file.read(PIECE_BYTES)
        self._decoder, self._is_over = _decoder(), not packed
        try:
            return self._decompressed(packed, most)
        except lzma.LZMAError:
            self._is_over = True
            return b""

    def _decompressed(self, packed: bytes, most: int) -> bytes:
        try:
            return self._decoder.decompress(packed, most)
        except lzma.LZMAError as error:
            if "Memory usage limit" not in str(error):
                raise
            raise NotImplementedError(f"xz that takes more than {MAX_MEMORY_BYTES // 1024**2} MB to expand") from error


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_MEMORY_BYTES)
