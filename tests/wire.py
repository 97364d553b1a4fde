"""What lies between a client and a PostgreSQL server, and may fail: a socket of the server's kind that passes everything on."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

_NAME = ".s.PGSQL.5432"


class Wire:
    """A wire that can lose a message, lose the answer to one, be held, and be cut.

    Attributes:
        lose: the next message from a client that holds this is lost, and its connection breaks.
        lose_answer_to: likewise of the answer to such a message; the server has got it.
        lost: how many were.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        """Listens in a folder, and passes on what comes to the server whose socket is in another."""
        self.folder = folder
        self.lose: bytes | None = None
        self.lose_answer_to: bytes | None = None
        self.lost = 0
        self._server = str(server / _NAME)
        self._open = threading.Event()
        self._open.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _NAME))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Passes nothing on any more, without a word, until `let_go`."""
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def cut(self) -> None:
        """Breaks every connection that there is."""
        for pair in self._pairs:
            _close(*pair)
        self._pairs.clear()

    def end(self) -> None:
        _close(self._listener)
        self.let_go()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self._server)
                except OSError:  # it is down
                    _close(client, server)
                    continue
                self._pairs.append((client, server))
                doomed = threading.Event()
                for source, target, is_client in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass_on, args=(source, target, is_client, doomed), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_client: bool, doomed: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._open.wait()
                if is_client and self.lose is not None and self.lose in data:
                    self.lose, self.lost = None, self.lost + 1
                    break
                if is_client and self.lose_answer_to is not None and self.lose_answer_to in data:
                    self.lose_answer_to, self.lost = None, self.lost + 1
                    doomed.set()
                elif not is_client and doomed.is_set():
                    break
                target.sendall(data)
        _close(source, target)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
