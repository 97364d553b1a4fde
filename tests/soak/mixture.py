"""The good calls: every kind that there is, each at a rate of its own, over connections that are replaced all the time."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, Final

import aiohttp
import numpy as np
import tritonclient.grpc.aio as triton
from PIL import Image
from tritonclient.utils import InferenceServerException

import eyas
import eyas.aio
from builders import COLOURS, scene
from callers import Call, Callers, WrongAnswer

from .daemons import STAYS, SWAPPED

_AT_ONCE: Final = 4  # sets of connections, which the kernel spreads over the acceptors
_LIFE_SECONDS: Final = 30.0
_CALL_SECONDS: Final = 60.0  # that it may take, tries again included
_KNOWN: Final = 240  # pictures, more than the cache of answers holds
_STREAMED: Final = 20
# Calls a second. What a training or a swap takes is not small beside them, so that the daemons have all kinds of work.
RATES: Final = {
    "single": 3.0,
    "swapped": 1.0,
    "http": 1.0,
    "infer": 0.5,
    "many": 0.25,
    "explain": 0.1,
    "ordered stream": 0.1,
    "unordered stream": 0.1,
    "feedback": 0.25,
    "list": 0.1,
    "captured": 0.1,
    "form": 0.1,
}


def pictures() -> list[bytes]:
    """Returns photographs of nothing in particular, each more of one colour than of the others: red, green, blue, red ..."""
    made = []
    for number in range(_KNOWN):
        width = (320, 160, 80)[number % 7 % 3]
        tint = Image.new("RGB", (width, width * 3 // 4), _colour(number)[1])
        blended = Image.blend(scene(number, tint.size), tint, 0.7)
        out = BytesIO()
        blended.save(out, ("JPEG", "PNG", "WEBP", "JPEG")[number // 3 % 4])
        made.append(out.getvalue())
    return made


def _colour(number: int) -> tuple[str, tuple[int, int, int]]:
    return sorted(COLOURS.items())[number % len(COLOURS)]


@dataclass(frozen=True)
class Connections:
    """One of each kind.

    Attributes:
        server: to the server.
        trainer: to the trainer.
        triton: to the server, by the Open Inference Protocol.
        web: to the server's HTTP door.
    """

    server: eyas.aio.Client
    trainer: eyas.aio.Client
    triton: triton.InferenceServerClient
    web: aiohttp.ClientSession

    @classmethod
    def to(cls, server: str, trainer: str, http: str) -> Connections:
        return cls(
            eyas.aio.Client(server, timeout=_CALL_SECONDS),
            eyas.aio.Client(trainer, timeout=_CALL_SECONDS),
            triton.InferenceServerClient(server, channel_args=[("grpc.use_local_subchannel_pool", 1)]),
            aiohttp.ClientSession(f"http://{http}", raise_for_status=True),
        )

    async def close(self) -> None:
        for one in (self.server, self.trainer, self.triton, self.web):
            await one.close()


class Mixture:
    """All kinds of good calls, until they are told to end.

    Attributes:
        callers: of each kind of call.
    """

    def __init__(self, address: str, trainer: str, http: str) -> None:
        """Remembers where the server, the trainer and the server's HTTP door are."""
        self._connect = partial(Connections.to, address, trainer, http)
        self._open: deque[Connections] = deque()
        self._left: deque[Connections] = deque()
        self._turn = itertools.count()
        self._known = pictures()
        self._labels = {content: _colour(number)[0] for number, content in enumerate(self._known)}
        self._answers: deque[tuple[eyas.Classification, str]] = deque(maxlen=50)
        self.callers = {kind: Callers(STAYS, self._known, rate) for kind, rate in RATES.items()}

    def end(self) -> None:
        """Has no further call begun."""
        for callers in self.callers.values():
            callers.end()

    def calls(self) -> list[Call]:
        """Returns the calls that have ended since this was asked before, of which the ways of single pictures are to be timed."""
        ended = []
        for callers in self.callers.values():
            for calls in callers.calls.values():
                ended += calls
                calls.clear()
        return ended

    async def run(self) -> None:
        """Makes calls until `end`."""
        acts = {
            "single": self._single,
            "swapped": self._swapped,
            "http": self._post,
            "infer": self._infer,
            "many": self._many,
            "explain": self._explain,
            "ordered stream": self._ordered,
            "unordered stream": self._unordered,
            "feedback": self._feedback,
            "list": self._list,
            "captured": self._take_captured,
            "form": self._form,
        }
        self._open += [self._connect() for _ in range(_AT_ONCE)]
        replacing = asyncio.create_task(self._replace())
        try:
            async with asyncio.TaskGroup() as group:
                for kind, act in acts.items():
                    group.create_task(self.callers[kind].ask(kind, act))
        finally:
            replacing.cancel()
            for one in (*self._open, *self._left):
                await one.close()

    @property
    def _now(self) -> Connections:
        """The connections whose turn it is."""
        return self._open[next(self._turn) % len(self._open)]

    async def _replace(self) -> None:
        """Opens others instead of the oldest, which end when their last calls have ended, or have been given up."""
        while True:
            await asyncio.sleep(_LIFE_SECONDS / _AT_ONCE)
            self._open.append(self._connect())
            self._left.append(self._open.popleft())
            if len(self._left) * _LIFE_SECONDS / _AT_ONCE > _CALL_SECONDS:
                await self._left.popleft().close()

    def _check(self, picture: bytes, answer: eyas.Classification | eyas.EyasError) -> eyas.Classification:
        if isinstance(answer, eyas.EyasError):
            raise answer
        self._compare(picture, answer.label)
        return answer

    def _compare(self, picture: bytes, label: str) -> None:
        if label != self._labels[picture]:
            raise WrongAnswer(f"a picture of {self._labels[picture]} is said to be {label}")

    async def _single(self, picture: bytes) -> None:
        answer = self._check(picture, await self._now.server.classify(STAYS, picture))
        self._answers.append((answer, self._labels[picture]))

    async def _swapped(self, picture: bytes) -> None:
        self._check(picture, await self._now.server.classify(SWAPPED, picture))

    async def _explain(self, picture: bytes) -> None:
        self._check(picture, await self._now.server.classify(STAYS, picture, explain=True))

    async def _many(self, picture: bytes) -> None:
        several = self._from(picture, 8)
        for one, answer in zip(several, await self._now.server.classify_many(STAYS, several), strict=True):
            self._check(one, answer)

    async def _ordered(self, picture: bytes) -> None:
        await self._stream(picture, ordered=True)

    async def _unordered(self, picture: bytes) -> None:
        await self._stream(picture, ordered=False)

    async def _stream(self, picture: bytes, *, ordered: bool) -> None:
        several = self._from(picture, _STREAMED)

        async def slowly() -> AsyncIterator[bytes]:
            for one in several:
                yield one
                await asyncio.sleep(0.05)

        count = 0
        async for one, answer in self._now.server.classify_stream(SWAPPED, slowly(), ordered=ordered):
            self._check(one, answer)  # type: ignore[arg-type] - it is what was sent
            count += 1
        if count != len(several):
            raise WrongAnswer(f"of {len(several)} pictures of a stream, {count} were answered")

    def _from(self, picture: bytes, count: int) -> list[bytes]:
        start = self._known.index(picture)
        return [self._known[(start + number) % len(self._known)] for number in range(count)]

    async def _post(self, picture: bytes) -> None:
        headers = {"content-type": "image/jpeg"}
        async with self._now.web.post(f"/v1/models/{STAYS}:classify", data=picture, headers=headers) as answer:
            self._judge(await answer.json(), [picture])

    async def _form(self, picture: bytes) -> None:
        several, form = self._from(picture, 3), aiohttp.FormData()
        for number, one in enumerate(several):
            form.add_field("image", one, filename=f"{number}.png", content_type="image/png")
        async with self._now.web.post(f"/v1/models/{STAYS}:classify", data=form) as answer:
            self._judge(await answer.json(), several)
        async with self._now.web.get("/v1/health") as answer:
            await answer.read()

    def _judge(self, body: Any, several: list[bytes]) -> None:
        for one, result in zip(several, body["results"], strict=True):
            if "error" in result:
                raise WrongAnswer(str(result["error"]))
            self._compare(one, result["classification"]["predictions"][0]["label"])

    async def _infer(self, picture: bytes) -> None:
        tensor = triton.InferInput("encoded", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([picture], np.object_))
        try:
            answer = await self._now.triton.infer(STAYS, [tensor])
        except InferenceServerException as error:
            kind = eyas.Overloaded if "RESOURCE_EXHAUSTED" in str(error) else WrongAnswer
            raise kind(str(error)) from error
        self._compare(picture, sorted(COLOURS)[int(answer.as_numpy("probabilities").argmax())])

    async def _feedback(self, picture: bytes) -> None:
        reports = [self._answers.popleft() for _ in range(min(4, len(self._answers)))]
        for result in await self._now.server.report_feedback_many(reports):
            if result.outcome not in {eyas.FeedbackOutcome.RIGHT, eyas.FeedbackOutcome.REPEATED}:
                raise WrongAnswer(f"a right answer is {result.outcome}")

    async def _list(self, picture: bytes) -> None:
        for client in (self._now.server, self._now.trainer):
            for model in [model async for model in client.list_models()]:
                await _first(client.list_model_versions(model.name))
                await _first(client.list_alias_records(model.name))
        await _first(self._now.trainer.list_jobs())
        await _first(self._now.trainer.list_datasets())

    async def _take_captured(self, picture: bytes) -> None:
        """Looks at pictures that were kept, labels one, and deletes others."""
        client = self._now.server
        found = await _first(client.list_captured(SWAPPED), 10)
        # Another act may have deleted one since it was listed.
        with suppress(eyas.NotFound):
            for one in found[:1]:
                await client.get_captured(SWAPPED, one.id)
                await client.label_captured(SWAPPED, {one.id: "red"})
            await client.delete_captured(SWAPPED, [one.id for one in found[1:]])


async def _first(found: AsyncIterator[Any], count: int = 20) -> list[Any]:
    """Returns the first of a list that may have many pages."""
    several: list[Any] = []
    async for one in found:
        several.append(one)
        if len(several) == count:
            break
    return several
