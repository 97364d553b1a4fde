"""What travels between a daemon and an engine.

On a data socket, from an acceptor: records of one size that name slots; the pictures lie in the slots. On the control socket, from
whoever started the engine: messages, JSON in one packet each, with descriptors beside them.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

# kind, priority, whether it is to be explained; slot, caller; arrival and deadline on the clock of `time.monotonic`, which all
# processes of a machine share.
ASK: Final = struct.Struct("<BB?xIIxxxxdd")
# outcome, pictures in the batch; the same in the first answer of each batch, else 0; slot; seconds in the queue and in the network;
# the engine's process and the batch's number there.
ANSWER: Final = struct.Struct("<BBHIffII")
_MAX_MESSAGE_BYTES: Final = 64 * 1024
_MAX_DESCRIPTORS: Final = 16


class Kind(IntEnum):
    """What an acceptor says of a slot."""

    ASK = 0
    CANCEL = 1


class Batch(NamedTuple):
    """What an answer was computed in.

    Attributes:
        images: pictures of the batch.
        engine: id of the process that ran it.
        number: of the batch there.
    """

    images: int = 0
    engine: int = 0
    number: int = 0


NO_BATCH: Final = Batch()


class Outcome(IntEnum):
    """What an engine says of a slot. Each ASK gets one of them; from then on the slot is the acceptor's again."""

    DONE = 0
    LATE = 1
    CANCELLED = 2
    FAILED = 3
    NO_MEMORY = 4


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Returns the two ends of a control socket."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(control: socket.socket, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> None:
    """Sends a message; the descriptors stay the sender's, too.

    Raises:
        OSError: the other end is gone.
    """
    socket.send_fds(control, [json.dumps(message, default=str).encode()], descriptors)


def receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Returns the next message and its descriptors, which are the receiver's to close; None where the other end is gone."""
    try:
        content, descriptors, _, _ = socket.recv_fds(control, _MAX_MESSAGE_BYTES, _MAX_DESCRIPTORS)
    except ConnectionError:
        return None
    return (json.loads(content), descriptors) if content else None


def memory(name: str, content: bytes) -> int:
    """Returns an anonymous file with the content, for what is too long for a message."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor


def content(descriptor: int) -> bytes:
    """Returns what an anonymous file holds, and closes it."""
    try:
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
