"""One decoder's process, as the daemon sees it. Knows pictures and bytes, not who asks, nor who comes after it."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import DecoderEnded
from eyasd.serving.decoding.records import ANSWER, ASK, MOST_RECORD_BYTES, Came, Do, Tray

PROGRAM: Final = (sys.executable, "-m", "eyasd.serving.decoding")
# Where Python and its libraries lie; the daemon's variables may be secrets. One heap, and no threads for matrices.
_KEPT_VARIABLES: Final = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
_VARIABLES: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}
# Why one ends, in a word.
ENDS: Final = ("crash", "forbidden", "killed", "slow")
_START_SECONDS: Final = 300.0  # a machine that has other things to do, not one that is broken
_END_SECONDS: Final = 10.0
_MOST_LAST_WORDS: Final = 4_096


class NotStarted(Exception):
    """Why a decoder cannot be started."""


class NeverAsked(Exception):
    """The decoder was gone before it began."""


class Reply(NamedTuple):
    """What a decoder says. It may have been taken over: nothing of it is to be believed but for the one picture.

    Attributes:
        came: of the request.
        number: see `records.ANSWER`.
        said: the rest.
    """

    came: Came
    number: int
    said: bytes


class Worker:
    """A process that decodes one picture at a time.

    Attributes:
        process: its id.
        has_network: whether it has a network of its own, see `sandbox`.
        has_answered: whether it ever has.
    """

    def __init__(self, program: Sequence[str], limit_seconds: float) -> None:
        """Starts it, and waits until it is locked up. It dies with the thread that calls this.

        Args:
            program: its command line, without the descriptors.
            limit_seconds: how long one picture may take.

        Raises:
            NotStarted: it cannot be.
            OSError: likewise; the daemon has no room for more memory or descriptors.
        """
        self._tray = Tray()
        self._limit = limit_seconds
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # What nobody reads is dropped when the pipe is full: a decoder waits for nobody, and fills no log.
        self._words, their_words = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._asking = threading.Lock()
        self._ended = threading.Event()
        self._status, self._slow, self._lied = 0, False, False
        self.has_answered = False
        with theirs:
            try:
                self._child = subprocess.Popen(  # noqa: S603 - our own program
                    [*program, *map(str, (theirs.fileno(), self._tray.descriptor, os.getpid()))],
                    stdin=subprocess.DEVNULL,
                    stdout=their_words,
                    stderr=their_words,
                    pass_fds=(theirs.fileno(), self._tray.descriptor),
                    process_group=0,  # Ctrl-C at the terminal reaches the daemon, which then decides
                    env={**{name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}, **_VARIABLES},
                )
            except OSError as error:  # the machine has no memory, or no room for another process
                self._let_go()
                raise NotStarted(f"no process can be started: {error.strerror}") from error
            finally:
                os.close(their_words)
        self.process = self._child.pid
        self.has_network = self._hear_first()

    def ask(self, what: Do, encoded: bytes, spec: bytes = b"") -> Reply:
        """Returns what it says of a picture; called by one thread at a time, which then may look at `result`.

        Args:
            what: is to be done.
            encoded: the picture's file, not larger than may be decoded.
            spec: see `records.ASK`.

        Raises:
            NeverAsked: it was gone before, or says that it had not begun.
            DecoderEnded: it ended amid the picture, or took too long and was ended.
        """
        with self._asking:
            if self._ended.is_set():
                raise NeverAsked
            self._tray.begun[0] = False
            self._tray.file[: len(encoded)] = np.frombuffer(encoded, np.uint8)
            try:
                self._control.send(ASK.pack(what, len(encoded)) + spec)
            except OSError:
                raise NeverAsked from None
            try:
                record = self._control.recv(MOST_RECORD_BYTES)
            except TimeoutError:
                self._slow, record = True, b""
            except OSError:
                record = b""
            if not record:
                over = self._over()
                raise over if self._slow or self._tray.begun[0] else NeverAsked
        self.has_answered = True
        return self._reply(record)

    def result(self, count: int) -> NDArray[np.uint8]:
        """Returns what came of the picture, uint8 [count]; its own memory until it is asked again."""
        return self._tray.result[:count]

    def shrink(self, file_bytes: int) -> None:
        """See `Tray.shrink`."""
        self._tray.shrink(file_bytes)

    def kill(self) -> None:
        """Ends it at once."""
        self._child.kill()

    def wait(self) -> str:
        """Waits until it has ended, and returns why: one of `ENDS`."""
        self._status = self._child.wait()
        self._ended.set()
        if self._slow or self._lied:
            return "slow" if self._slow else "forbidden"
        return {-signal.SIGSYS: "forbidden", -signal.SIGKILL: "killed"}.get(self._status, "crash")

    def close(self) -> str:
        """Lets go of one that has ended, and returns its last words."""
        try:
            words = os.read(self._words, _MOST_LAST_WORDS).decode(errors="replace").strip()
        except BlockingIOError:
            words = ""
        with self._asking:
            self._let_go()
        return words

    @property
    def how(self) -> str:
        """How it ended, for a person."""
        return f"by {signal.Signals(-self._status).name}" if self._status < 0 else f"with status {self._status}"

    def _hear_first(self) -> bool:
        """Returns whether it has a network of its own, once it is ready. Raises NotStarted."""
        self._control.settimeout(_START_SECONDS)
        record, why = b"", ""
        try:
            record = self._control.recv(MOST_RECORD_BYTES)
        except TimeoutError:
            why = f"it was not ready within {_START_SECONDS:g} s"
        except OSError:  # it is gone
            pass
        if record:
            came, network = ANSWER.unpack_from(record)
            if came == Came.DONE:
                self._control.settimeout(self._limit)
                return bool(network)
            why = record[ANSWER.size :].decode(errors="replace")
        self.kill()
        self.wait()
        words = self.close()
        raise NotStarted(why or f"it ended {self.how}" + (f" and said: {words}" if words else ""))

    def _reply(self, record: bytes) -> Reply:
        """Returns a record's content. Raises DecoderEnded where it is none."""
        try:
            came, number = ANSWER.unpack_from(record)
            return Reply(Came(came), number, record[ANSWER.size :])
        except (struct.error, ValueError):
            raise self.distrust() from None

    def distrust(self) -> DecoderEnded:
        """Ends one that has said what no decoder says, and returns the error of its picture."""
        with self._asking:
            self._lied = True
            return self._over()

    def _over(self) -> DecoderEnded:
        """Sees to it that it ends, and returns the error of the picture that it had."""
        self.kill()
        self._ended.wait(_END_SECONDS)
        if self._slow:
            return DecoderEnded(
                f"The picture took its decoder more than {self._limit:g} s, which was then ended: send a smaller or plainer copy."
            )
        return DecoderEnded(f"The picture's decoder ended {self.how}. It is not tried again: send a copy that was saved anew.")

    def _let_go(self) -> None:
        self._control.close()
        self._tray.close()
        os.close(self._words)
