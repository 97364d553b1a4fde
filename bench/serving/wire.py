"""A gRPC connection that costs its client next to nothing: unary calls whose requests are bytes, over HTTP/2 as gRPC wants it.

A load generator with gRPC's own client is as slow as the server that it measures. This one knows just what a unary call needs:
one fixed block of headers, frames of data within the windows that the server grants, and of the answer its bytes, its status
and whether the details of the status hold a RetryInfo. It asks the server not to compress headers with a table of its own
(HEADER_TABLE_SIZE 0) and to send binary ones as they are, so they can be read by looking for their names. Needs the standard
library alone.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
# RFC 9113, 6.5.2, and gRPC's own 0xfe03: binary headers need not be in base64.
_TABLE_SIZE, _PUSH, _MAX_STREAMS, _INITIAL_WINDOW, _TRUE_BINARY = 1, 2, 3, 4, 0xFE03
_MAX_FRAME: Final = 16_384
_OUR_WINDOW: Final = 1 << 30
_RETRY_INFO: Final = b"type.googleapis.com/google.rpc.RetryInfo"
CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, UNAVAILABLE = 1, 2, 4, 14


@dataclass(slots=True, eq=False)
class Call:
    """One unary call.

    Attributes:
        start: on the clock of `time.perf_counter`; where calls come by a timetable, when it was due.
        number: of its request, for whoever compares answers.
        seconds: from `start` to its end; below 0 while it runs.
        status: of gRPC.
        retry_info: whether the status came with one.
        answer: the response's message; empty where the call failed.
    """

    start: float
    number: int
    seconds: float = -1.0
    status: int = UNKNOWN
    retry_info: bool = False
    answer: bytearray = field(default_factory=bytearray)


def _text(text: bytes) -> bytes:
    assert len(text) < 127
    return bytes([len(text)]) + text


def _header(name: bytes, value: bytes) -> bytes:
    return b"\x00" + _text(name) + _text(value)  # a literal that nobody indexes


class Connection:
    """A connection to a server, which never waits: the owner of many asks `fileno` when to `receive`."""

    def __init__(self, address: str, path: str, timeout_ms: int) -> None:
        """Connects.

        Args:
            address: HOST:PORT, in plain text.
            path: of the method, `/package.Service/Method`.
            timeout_ms: deadline of every call, which the server is told; the owner sees to it on this side.
        """
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        # :method POST and :scheme http are numbers 3 and 6 of HTTP/2's table, :path and :authority the names 4 and 1.
        self._headers = (
            b"\x83\x86\x04" + _text(path.encode()) + b"\x01" + _text(address.encode()) + _header(b"te", b"trailers")
            + _header(b"content-type", b"application/grpc") + _header(b"grpc-timeout", f"{timeout_ms}m".encode())
        )  # fmt: skip
        self.calls: dict[int, Call] = {}
        self.closing = False  # takes no further calls
        self.max_streams = 100
        self._next_stream = 1
        self._window = 65_535
        self._stream_window = 65_535
        self._blocked: dict[int, tuple[memoryview, int]] = {}  # what is left of a request, and its stream's window
        self._in = bytearray()
        self._out: deque[bytes] = deque()
        self._received = 0
        settings = ((_TABLE_SIZE, 0), (_PUSH, 0), (_INITIAL_WINDOW, _OUR_WINDOW), (_TRUE_BINARY, 1))
        payload = b"".join(struct.pack(">HI", *setting) for setting in settings)
        self._out.append(_PREFACE + _frame(_SETTINGS, 0, 0, payload) + _frame(_WINDOW, 0, 0, struct.pack(">I", _OUR_WINDOW)))
        self.flush()

    def fileno(self) -> int:
        """Returns the socket's, for select."""
        return self._socket.fileno()

    @property
    def room(self) -> int:
        """How many more calls it takes."""
        return 0 if self.closing else self.max_streams - len(self.calls)

    @property
    def wants_to_send(self) -> bool:
        """Whether the kernel would take no more so far."""
        return bool(self._out)

    def start(self, call: Call, message: bytes) -> None:
        """Sends a request."""
        stream = self._next_stream
        self._next_stream += 2
        self.closing = self._next_stream > 1 << 30
        self.calls[stream] = call
        self._out.append(_frame(_HEADERS, _END_HEADERS, stream, self._headers))
        self._send(stream, memoryview(b"\0" + struct.pack(">I", len(message)) + message), self._stream_window)
        self.flush()

    def abandon(self, stream: int) -> None:
        """Tells the server that nobody waits for a call any more."""
        self.calls.pop(stream)
        self._blocked.pop(stream, None)
        self._out.append(_frame(_RESET, 0, stream, struct.pack(">I", 8)))  # CANCEL
        self.flush()

    def close(self) -> list[Call]:
        """Closes the socket, and returns the calls that are lost with it."""
        self._socket.close()
        self.closing = True
        lost = list(self.calls.values())
        self.calls.clear()
        now = time.perf_counter()
        for call in lost:
            call.status, call.seconds = UNAVAILABLE, now - call.start
        return lost

    def flush(self) -> None:
        """Sends what the kernel takes."""
        try:
            while self._out:
                data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
                self._out.clear()
                sent = self._socket.send(data)
                if sent < len(data):
                    self._out.append(data[sent:])
        except BlockingIOError:
            self._out.appendleft(data)
        except OSError:
            self.closing = True  # `receive` finds the connection's end, and what is lost with it

    def receive(self) -> list[Call]:
        """Returns the calls that have ended, after reading what has come; of a connection that has ended, all of them."""
        try:
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            return self.close()
        self._in += data
        done: list[Call] = []
        buffer, at, end = self._in, 0, len(self._in)
        while end - at >= 9:
            length = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
            if end - at < 9 + length:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9]) & 0x7FFFFFFF
            self._take(kind, flags, stream, buffer[at + 9 : at + 9 + length], done)
            at += 9 + length
        del self._in[:at]
        self.flush()
        return done

    def _take(self, kind: int, flags: int, stream: int, payload: bytearray, done: list[Call]) -> None:
        call = self.calls.get(stream)
        if kind == _DATA:
            self._read(call, payload)
        elif kind == _HEADERS:
            if not flags & _END_HEADERS:
                raise ValueError("The server's headers do not fit a frame.")
            if flags & _END_STREAM and call is not None:
                del self.calls[stream]
                self._blocked.pop(stream, None)
                _end(call, payload)
                done.append(call)
        elif kind == _RESET and call is not None:
            done.append(self._fail(stream, {7: UNAVAILABLE, 8: CANCELLED}.get(int.from_bytes(payload), UNKNOWN)))
        elif kind == _GOAWAY:
            self.closing = True
            last = int.from_bytes(payload[:4]) & 0x7FFFFFFF
            done += [self._fail(number, UNAVAILABLE) for number in list(self.calls) if number > last]
        elif kind == _WINDOW:
            self._grant(stream, int.from_bytes(payload))
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            if kind == _SETTINGS:
                self._set(payload)
            self._out.append(_frame(kind, _ACK, 0, b"" if kind == _SETTINGS else bytes(payload)))

    def _read(self, call: Call | None, payload: bytearray) -> None:
        if call is not None:
            call.answer += payload
        self._received += len(payload)
        if self._received > _OUR_WINDOW // 4:
            self._out.append(_frame(_WINDOW, 0, 0, struct.pack(">I", self._received)))
            self._received = 0

    def _fail(self, stream: int, status: int) -> Call:
        call = self.calls.pop(stream)
        self._blocked.pop(stream, None)
        call.status, call.seconds = status, time.perf_counter() - call.start
        return call

    def _set(self, payload: bytearray) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _MAX_STREAMS:
                self.max_streams = value
            elif name == _INITIAL_WINDOW:
                more = value - self._stream_window
                self._stream_window = value
                self._blocked = {stream: (left, window + more) for stream, (left, window) in self._blocked.items()}
        self._grant(0, 0)

    def _grant(self, stream: int, more: int) -> None:
        if not stream:
            self._window += more
        elif stream in self._blocked:
            left, window = self._blocked[stream]
            self._blocked[stream] = (left, window + more)
        for number, (left, window) in list(self._blocked.items()):
            if self._window > 0 and window > 0:
                del self._blocked[number]
                self._send(number, left, window)

    def _send(self, stream: int, left: memoryview, window: int) -> None:
        while len(left):
            size = min(len(left), _MAX_FRAME, window, self._window)
            if size <= 0:
                self._blocked[stream] = (left, window)
                return
            last = size == len(left)
            self._out.append(_frame(_DATA, _END_STREAM if last else 0, stream, left[:size]))
            left = left[size:]
            window -= size
            self._window -= size


def _frame(kind: int, flags: int, stream: int, payload: bytes | memoryview) -> bytes:
    return b"".join((len(payload).to_bytes(3), bytes((kind, flags)), stream.to_bytes(4), payload))


def _end(call: Call, trailers: bytearray) -> None:
    call.seconds = time.perf_counter() - call.start
    _, found, rest = trailers.partition(b"\x0bgrpc-status")
    if found and not rest[0] & 0x80:
        call.status = int(rest[1 : 1 + rest[0]])
    call.retry_info = _RETRY_INFO in trailers
    del call.answer[:5]  # not compressed, and its length
