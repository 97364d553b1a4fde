"""The synchronous client."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta
from typing import Any, TypeVar

import grpc

from eyas import _calls, _images
from eyas._capture_client import CaptureClient
from eyas._channel import in_seconds
from eyas._dataset_client import DatasetClient
from eyas._errors import EyasError, Unavailable, from_rpc
from eyas._feedback_client import FeedbackClient
from eyas._images import Image
from eyas._model_client import ModelClient
from eyas._patience import Patience
from eyas._settings import SettingValue
from eyas._stream import LIFETIME_SECONDS, Pictures, ended_for_silence
from eyas._streaming import Streaming
from eyas._types import Classification, Job, JobEvent, Priority
from eyas._watch import Watch

T = TypeVar("T")


class Client(ModelClient, DatasetClient, FeedbackClient, CaptureClient):
    """A connection to an Eyas server; safe to share between threads, and to be closed.

    Every call has a deadline: `timeout` of the client, unless the call names its own. Calls that change nothing when repeated
    are repeated by gRPC while no server answers, and what a full server refuses is sent again when it says. A model is named
    `NAME` (its alias `production`), `NAME@ALIAS` or `NAME/VERSION`.
    Every method raises a subclass of `EyasError`.
    """

    def classify(
        self,
        model: str,
        image: Image,
        *,
        top_k: int = 0,
        allow_unknown: bool = False,
        explain: bool = False,
        priority: Priority = Priority.NORMAL,
        routing_key: str = "",
        timeout: float | timedelta | None = None,
    ) -> Classification:
        """Labels one picture.

        Args:
            model: which version answers.
            image: an encoded picture, or the path of one.
            top_k: how many labels to return, most probable first; 0 is those that apply, or the most probable one where none does.
            allow_unknown: whether the picture may be called unknown: then none of its labels applies, and `unknown` says why.
            explain: whether the answer holds an explanation, see `Classification`.
            priority: who goes first where not all can; low priority is refused first.
            routing_key: whom the request is from or about, at most 256 characters: while the model has a canary, all requests of a
                key are answered by the same version.
            timeout: deadline of this call; None is the client's.

        Raises:
            UndecodableImage: it is no picture, or too large.
            FailedPrecondition: it may be called unknown, and the version has no rule for that; or the version cannot explain.
        """
        content = _images.read_image(image)
        call = _calls.classify(
            model, [content], top_k, allow_unknown=allow_unknown, explain=explain, priority=priority, routing_key=routing_key
        )
        (result,) = self._run(call, timeout)
        if isinstance(result, EyasError):
            raise result
        return result

    def classify_many(
        self,
        model: str,
        images: Sequence[Image],
        *,
        top_k: int = 0,
        allow_unknown: bool = False,
        explain: bool = False,
        priority: Priority = Priority.NORMAL,
        routing_key: str = "",
        timeout: float | timedelta | None = None,
    ) -> list[Classification | EyasError]:
        """Labels any number of pictures, in as many requests as they need, four at a time.

        Args:
            model: which version answers.
            images: encoded pictures, or paths of them.
            top_k: how many labels to return for each, as in `classify`.
            allow_unknown: as in `classify`.
            explain: as in `classify`.
            priority: as in `classify`.
            routing_key: as in `classify`.
            timeout: deadline of each request; None is the client's.

        Returns:
            One result a picture, in order: its labels, or the error of a picture that has none.
        """
        results: list[Classification | EyasError | None] = [None] * len(images)

        def send(batch: tuple[list[int], list[bytes]]) -> None:
            places, contents = batch
            call = _calls.classify(
                model, contents, top_k, allow_unknown=allow_unknown, explain=explain, priority=priority, routing_key=routing_key
            )
            answers = self._run(call, timeout)
            for place, result in zip(places, answers, strict=True):
                results[place] = result

        with ThreadPoolExecutor(_images.IN_FLIGHT) as pool:
            waiting = []
            for batch in _images.batches(images, results, explain=explain):
                waiting.append(pool.submit(copy_context().run, send, batch))  # with the span that is current
                if len(waiting) == _images.IN_FLIGHT:  # no more files are read than are being sent
                    waiting.pop(0).result()
            for sent in waiting:
                sent.result()
        return _images.whole(results)

    def classify_stream(
        self,
        model: str,
        images: Iterable[Image],
        *,
        ordered: bool = True,
        top_k: int = 0,
        allow_unknown: bool = False,
        explain: bool = False,
        priority: Priority = Priority.NORMAL,
        routing_key: str = "",
        timeout: float | timedelta | None = None,
    ) -> Iterator[tuple[Image, Classification | EyasError]]:
        """Labels pictures as they come, any number of them, over one stream.

        At most 64 pictures, or 16 MiB of them, have been taken from `images` and not been given back, so what is sent, answered and
        held is bounded whoever is slow. A stream that breaks off, as each does every few minutes, is opened again while a server
        answers within a minute, and what was not answered is sent once more.

        Args:
            model: which version answers.
            images: encoded pictures, or paths of them; taken in a thread of gRPC's.
            ordered: whether the answers come in the order of the pictures, or each as soon as it is known.
            top_k: as in `classify`.
            allow_unknown: as in `classify`.
            explain: as in `classify`.
            priority: as in `classify`.
            routing_key: as in `classify`, for every picture.
            timeout: how long the answer to a picture may take; None is the client's.

        Yields:
            Each picture, as `images` gave it, with its labels, or the error of a picture that has none.
        """
        seconds = self._connection.timeout_seconds if timeout is None else in_seconds(timeout)
        call = _calls.classify_stream(
            model,
            top_k,
            allow_unknown=allow_unknown,
            explain=explain,
            priority=priority,
            routing_key=routing_key,
            picture_timeout_seconds=seconds,
        )
        method: Any = self._channel.stream_stream(call.method, lambda m: m.SerializeToString(), call.response.FromString)
        pictures = Pictures(ordered=ordered, timeout_seconds=seconds, retries=self._connection.retries)
        streaming, patience = Streaming(pictures, images), Patience()
        while not pictures.all_answered():
            patience.open()
            longest = LIFETIME_SECONDS + seconds
            responses = method(streaming.requests(call.request), timeout=longest, metadata=self._connection.metadata)
            error: EyasError = Unavailable("The server ended the stream before it had answered every picture.")
            try:
                for response in responses:
                    patience.hear()
                    yield from streaming.answer(*call.convert(response))
            except grpc.RpcError as rpc:
                error = from_rpc(rpc, self._connection.address)
            finally:
                responses.cancel()
                streaming.end_call()
            if not pictures.all_answered() and not ended_for_silence(error):
                time.sleep(patience.break_off(error, retries=self._connection.retries))
        yield from streaming.results()
        streaming.raise_failure()

    def train(
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
        """Starts a training, and returns its job at once.

        Args:
            dataset: absolute path, on the trainer's machine, of a folder of class folders, or of train/, validation/ and test/;
                of a manifest (.csv or .jsonl with the columns path and label); or of an archive (.zip, .tar ...) of either. Or the
                name of an uploaded one, see `upload_dataset`: `datasets/NAME`, the newest, or `datasets/NAME/versions/NUMBER`. None
                is the one that the base version was trained on, where captured pictures are added.
            model: the model that gets a version; None is that of the base version.
            preset: `fast`, `balanced` or `best`.
            budget: wall-clock time it may take, in seconds or as a timedelta.
            alias: the alias to point to the version; None is `production` for a first version, and none later, unless captured
                pictures are added: then the one by which the base version is named.
            base_version: the version whose weights it starts from, named as in `classify`; of any model, whatever its labels. None
                starts from the backbone's pre-trained weights.
            priority: which jobs it goes before; `eyas.Priority.LOW` is for what can wait.
            request_id: makes the call safe to repeat by hand; by itself the client makes a fresh one for every call.
            **settings: any field of `eyas.v1.TrainingSpec`, such as `epochs=5` or `optimizer="sgd"`, None being as good as none;
                `add_captured="labelled"` adds the pictures of production that were captured and labelled.
        """
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
        return self._run(call)

    def evaluate(
        self,
        model: str,
        dataset: str | os.PathLike[str] | None = None,
        *,
        others: Iterable[str] = (),
        split: str | None = None,
        request_id: str | None = None,
    ) -> Job:
        """Starts an evaluation of a version, and returns its job at once.

        Args:
            model: the version, named as in `classify`.
            dataset: as `train` takes it; None, with a split, is the one that the version was trained on.
            others: further versions to score on the same pictures; each is compared with `model`.
            split: of the dataset that the version was made with, `train`, `validation` or `test`; None is all of the dataset, or
                its own test split where it has splits.
            request_id: see `train`.
        """
        return self._run(_calls.evaluate(model, dataset, others, split, request_id))

    def compare(
        self,
        first: str,
        second: str,
        dataset: str | os.PathLike[str] | None = None,
        *,
        split: str | None = None,
        request_id: str | None = None,
    ) -> Job:
        """Starts an evaluation of two versions on the same pictures, whose job has one of `comparisons`.

        The arguments are those of `evaluate`; where neither a dataset nor a split is named, it is the first version's test split.
        """
        return self._run(_calls.compare(first, second, dataset, split, request_id))

    def inspect(
        self, dataset: str | os.PathLike[str], *, backbone: str | None = None, seed: int = 0, request_id: str | None = None
    ) -> Job:
        """Starts an inspection of a dataset, and returns its job at once; the result is its `dataset_report`.

        Args:
            dataset: as `train` takes it.
            backbone: the network whose features judge the labels; None is the default of a training.
            seed: of every random choice; `train` with the same one makes the same split.
            request_id: see `train`.
        """
        return self._run(_calls.inspect(dataset, backbone, seed, request_id))

    def retrace(self, version: str, dataset: str | os.PathLike[str] | None = None, *, request_id: str | None = None) -> Job:
        """Starts to go the way of a version's training up to its split, and returns the job at once.

        The digest of its `dataset_report` is the version's own if neither the dataset nor its split has changed; `conditions` is
        what a training would be done with now.

        Args:
            version: named as in `classify`.
            dataset: where the dataset lies now; None is where it was.
            request_id: see `train`.
        """
        return self._run(_calls.retrace(version, dataset, request_id))

    def get_job(self, job: str) -> Job:
        """Returns a job."""
        return self._run(_calls.get_job(job))

    def list_jobs(self) -> Iterator[Job]:
        """Yields every job, newest first."""
        return self._pages(_calls.list_jobs)

    def watch_job(self, job: str, from_sequence: int = 1) -> Iterator[JobEvent]:
        """Yields a job's updates until it has ended; if the connection is lost, goes on where it was.

        Raises:
            Unavailable: no server has answered for a minute.
        """
        watch = Watch(from_sequence)
        while True:
            watch.open()
            call = _calls.watch_job(job, watch.sequence)
            method: Any = self._channel.unary_stream(call.method, None, call.response.FromString)
            stream = method(call.request.SerializeToString(), metadata=self._connection.metadata)
            try:
                for message in stream:
                    event = call.convert(message)
                    watch.receive(event)
                    yield event
            except grpc.RpcError as rpc:
                delay = watch.break_off(from_rpc(rpc, self._connection.address))
            else:
                return
            finally:
                stream.cancel()  # the caller may have left early
            time.sleep(delay)

    def wait(self, job: str) -> Job:
        """Returns a job once it has succeeded.

        Raises:
            JobFailed: it has failed; the message is the job's own.
            JobCancelled: it was cancelled.
        """
        for _ in self.watch_job(job):
            pass
        return _calls.concluded(self.get_job(job))

    def cancel_job(self, job: str) -> Job:
        """Asks a job to end, and returns it; it may be running still."""
        return self._run(_calls.cancel_job(job))

    def pause_job(self, job: str) -> Job:
        """Asks a job to wait until it is resumed, and returns it; it may be running still, until it has written a checkpoint."""
        return self._run(_calls.pause_job(job))

    def resume_job(self, job: str) -> Job:
        """Queues a job that was paused, or waits for another attempt, and returns it."""
        return self._run(_calls.resume_job(job))
