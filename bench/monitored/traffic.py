"""Callers of a model: some that ask steadily and say what would have been right, and some that ask too much."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import TracebackType

import eyas
from monitored.pictures import Pictures

_CALLERS = 8
_AT_ONCE = 16  # pictures in a request of those that ask too much
_PATIENCE_SECONDS = 0.5


class Traffic:
    """Use it as a context manager.

    Attributes:
        spoil: what is done to each picture before it is sent.
        wrong: the share of right answers that are called wrong.
    """

    def __init__(self, address: str, model: str, pictures: Pictures, rate: float) -> None:
        """Remembers whom to ask for what.

        Args:
            address: HOST:PORT.
            model: its name.
            pictures: what is asked for.
            rate: pictures a second.
        """
        self.spoil: Callable[[bytes], bytes] | None = None
        self.wrong = 0.0
        self._client = eyas.Client(address, retries=False)
        self._model, self._pictures, self._rate = model, pictures, rate
        self._random = random.Random(0)  # noqa: S311 - no secret
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic")

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()

    @contextmanager
    def overload(self, callers: int) -> Iterator[None]:
        """Lets so many others ask for as much as they can, and give up soon."""
        ended = threading.Event()

        def ask() -> None:
            while not ended.is_set():
                with suppress(eyas.EyasError):
                    contents = [content for _, content in self._random.sample(self._pictures.asked, _AT_ONCE)]
                    list(self._client.classify_many(self._model, contents, timeout=_PATIENCE_SECONDS))

        with ThreadPoolExecutor(callers) as pool:
            asking = [pool.submit(ask) for _ in range(callers)]
            try:
                yield
            finally:
                ended.set()
        for one in asking:
            one.result()

    def _run(self) -> None:
        with ThreadPoolExecutor(_CALLERS) as pool:
            due = time.monotonic()
            while not self._ended.is_set():
                pool.submit(self._ask, *self._random.choice(self._pictures.asked))
                due = max(due + self._random.expovariate(self._rate), time.monotonic() - 1)
                self._ended.wait(max(0.0, due - time.monotonic()))

    def _ask(self, label: str, content: bytes) -> None:
        sent = self.spoil(content) if self.spoil else content
        with suppress(eyas.EyasError):
            answer = self._client.classify(self._model, sent, routing_key=str(self._random.random()), timeout=5)
            said = answer.label
            if said == label and self._random.random() < self.wrong:
                label = self._random.choice([other for other, _ in self._pictures.asked if other != label])
            self._client.report_feedback(answer, label)
