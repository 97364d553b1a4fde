"""The asynchronous client: `eyas.aio.Client` has the methods of `eyas.Client`, to be awaited or iterated with `async for`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

import grpc

from eyas import _calls, _images
from eyas._aio_capture_client import CaptureClient
from eyas._aio_dataset_client import DatasetClient
from eyas._aio_feedback_client import FeedbackClient
from eyas._aio_model_client import ModelClient
from eyas._aio_streaming import Images, Streaming
from eyas._channel import in_seconds
from eyas._errors import EyasError, ServerError, Unavailable, from_rpc
from eyas._images import Image
from eyas._patience import Patience
from eyas._settings import SettingValue
from eyas._stream import LIFETIME_SECONDS, Pictures, ended_for_silence
from eyas._types import Classification, Job, JobEvent, Priority
from eyas._watch import Watch

__all__ = ["Client"]

T = TypeVar("T")
_HIDDEN: Final = "Internal error from Core"
_ENDED: Final = "The server ended the stream before it had answered every picture."


class Client(ModelClient, DatasetClient, FeedbackClient, CaptureClient):
    """A connection to an Eyas server, for one event loop; see `eyas.Client` for what each method does, takes and raises."""

    async def classify(
        self,
        model: str,
        image: Image,
        *,
        top_k: int = 0,
        allow_unknown: bool = False,
        explain: bool = False,
        priority: Priority = Priority.NORMAL,
        routing_key: str = "",
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - a deadline
    ) -> Classification:
        """Labels one picture."""
        content = image if isinstance(image, bytes) else await asyncio.to_thread(_images.read_image, image)
        call = _calls.classify(
            model, [content], top_k, allow_unknown=allow_unknown, explain=explain, priority=priority, routing_key=routing_key
        )
        (result,) = await self._run(call, timeout)
        if isinstance(result, EyasError):
            raise result
        return result

    async def classify_many(
        self,
        model: str,
        images: Sequence[Image],
        *,
        top_k: int = 0,
        allow_unknown: bool = False,
        explain: bool = False,
        priority: Priority = Priority.NORMAL,
        routing_key: str = "",
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - a deadline that travels to the server
    ) -> list[Classification | EyasError]:
        """Labels any number of pictures, in as many requests as they need, four at a time."""
        results: list[Classification | EyasError | None] = [None] * len(images)
        batches = _images.batches(images, results, explain=explain)
        turn = asyncio.Lock()  # a generator serves one caller at a time

        async def send_in_turn() -> None:
            while True:
                async with turn:
                    places, contents = await asyncio.to_thread(next, batches, ([], []))
                if not places:
                    return
                call = _calls.classify(
                    model, contents, top_k, allow_unknown=allow_unknown, explain=explain, priority=priority, routing_key=routing_key
                )
                answers = await self._run(call, timeout)
                for place, result in zip(places, answers, strict=True):
                    results[place] = result

        senders = [asyncio.create_task(send_in_turn()) for _ in range(_images.IN_FLIGHT)]
        try:
            await asyncio.gather(*senders)
        finally:
            for sender in senders:  # where one has failed, the others' work is of no use
                sender.cancel()
        return _images.whole(results)

    async def classify_stream(
        self,
        model: str,
        images: Images,
        *,
        ordered: bool = True,
        top_k: int = 0,
        allow_unknown: bool = False,
        explain: bool = False,
        priority: Priority = Priority.NORMAL,
        routing_key: str = "",
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - of each picture
    ) -> AsyncIterator[tuple[Image, Classification | EyasError]]:
        """Labels pictures as they come, see `Client.classify_stream`; `images` may be asynchronous, else a thread takes them."""
        seconds = self._connection.timeout_seconds if timeout is None else in_seconds(timeout)
        asked: dict[str, Any] = {
            "allow_unknown": allow_unknown,
            "explain": explain,
            "priority": priority,
            "routing_key": routing_key,
        }
        call = _calls.classify_stream(model, top_k, picture_timeout_seconds=seconds, **asked)
        method: Any = self._channel.stream_stream(call.method, lambda m: m.SerializeToString(), call.response.FromString)
        pictures = Pictures(ordered=ordered, timeout_seconds=seconds, retries=self._connection.retries)
        streaming, patience = Streaming(pictures, images), Patience()
        try:
            while not pictures.all_answered():
                patience.open()
                responses = method(timeout=LIFETIME_SECONDS + seconds, metadata=self._connection.metadata)
                sending = asyncio.create_task(streaming.send(responses, call.request))
                error: EyasError = Unavailable(_ENDED)
                try:
                    async for response in responses:
                        patience.hear()
                        pictures.answer(*call.convert(response))
                        for result in pictures.results():
                            yield result
                            streaming.wake()
                        streaming.wake()
                except grpc.RpcError as rpc:
                    error = from_rpc(rpc, self._connection.address)
                finally:
                    responses.cancel()
                    sending.cancel()
                    await asyncio.wait({sending})
                    pictures.send_again()
                oldest, is_hidden = pictures.oldest(), isinstance(error, ServerError) and error.message == _HIDDEN
                if is_hidden and oldest is not None:
                    # A write that meets the end of a call hides from grpc.aio how it ended; a call without a stream brings it out.
                    single = _calls.classify(model, [oldest.content], top_k, **asked)
                    pictures.answer_alone(oldest, *await self._run(single, seconds))
                elif not pictures.all_answered() and not ended_for_silence(error):
                    error = Unavailable(_ENDED) if is_hidden else error
                    await asyncio.sleep(patience.break_off(error, retries=self._connection.retries))
            for result in pictures.results():
                yield result
            streaming.raise_failure()
        finally:
            await streaming.close()

    async def train(
        self,
        dataset: str | os.PathLike[str] | None = None,
        model: str | None = None,
        *,
        preset: str = "balanced",
        budget: float | timedelta | None = None,
        alias: str | None = None,
        base_version: str | None = None,
        priority: Priority = Priority.NORMAL,
        request_id: str | None = None,
        **settings: SettingValue | None,
    ) -> Job:
        """Starts a training, and returns its job at once."""
        call = _calls.train(
            dataset,
            model,
            preset=preset,
            budget=budget,
            alias=alias,
            base_version=base_version,
            priority=priority,
            request_id=request_id,
            settings=settings,
        )
        return await self._run(call)

    async def evaluate(
        self,
        model: str,
        dataset: str | os.PathLike[str] | None = None,
        *,
        others: Iterable[str] = (),
        split: str | None = None,
        request_id: str | None = None,
    ) -> Job:
        """Starts an evaluation of a version, and returns its job at once."""
        return await self._run(_calls.evaluate(model, dataset, others, split, request_id))

    async def compare(
        self,
        first: str,
        second: str,
        dataset: str | os.PathLike[str] | None = None,
        *,
        split: str | None = None,
        request_id: str | None = None,
    ) -> Job:
        """Starts an evaluation of two versions on the same pictures."""
        return await self._run(_calls.compare(first, second, dataset, split, request_id))

    async def inspect(
        self, dataset: str | os.PathLike[str], *, backbone: str | None = None, seed: int = 0, request_id: str | None = None
    ) -> Job:
        """Starts an inspection of a dataset, and returns its job at once."""
        return await self._run(_calls.inspect(dataset, backbone, seed, request_id))

    async def retrace(self, version: str, dataset: str | os.PathLike[str] | None = None, *, request_id: str | None = None) -> Job:
        """Starts to go the way of a version's training up to its split; see `Client.retrace`."""
        return await self._run(_calls.retrace(version, dataset, request_id))

    async def get_job(self, job: str) -> Job:
        """Returns a job."""
        return await self._run(_calls.get_job(job))

    def list_jobs(self) -> AsyncIterator[Job]:
        """Yields every job, newest first."""
        return self._pages(_calls.list_jobs)

    async def watch_job(self, job: str, from_sequence: int = 1) -> AsyncIterator[JobEvent]:
        """Yields a job's updates until it has ended; if the connection is lost, goes on where it was."""
        watch = Watch(from_sequence)
        while True:
            watch.open()
            call = _calls.watch_job(job, watch.sequence)
            method: Any = self._channel.unary_stream(call.method, None, call.response.FromString)
            stream = method(call.request.SerializeToString(), metadata=self._connection.metadata)
            try:
                async for message in stream:
                    event = call.convert(message)
                    watch.receive(event)
                    yield event
            except grpc.RpcError as rpc:
                delay = watch.break_off(from_rpc(rpc, self._connection.address))
            else:
                return
            finally:
                stream.cancel()  # the caller may have left early
            await asyncio.sleep(delay)

    async def wait(self, job: str) -> Job:
        """Returns a job once it has succeeded."""
        async for _ in self.watch_job(job):
            pass
        return _calls.concluded(await self.get_job(job))

    async def cancel_job(self, job: str) -> Job:
        """Asks a job to end, and returns it; it may be running still."""
        return await self._run(_calls.cancel_job(job))

    async def pause_job(self, job: str) -> Job:
        """Asks a job to wait until it is resumed; see `Client.pause_job`."""
        return await self._run(_calls.pause_job(job))

    async def resume_job(self, job: str) -> Job:
        """Queues a job that was paused; see `Client.resume_job`."""
        return await self._run(_calls.resume_job(job))
