"""A job as a file of TensorBoard's events: DIR/MODEL/JOB/events.out.tfevents.eyas.

The bytes follow from the job's events alone, and go where the note of what was told says that they belong. So what is written again
after a kill, or by two trainers at once, is the same at the same place, and readers that have seen more than was noted are not
disturbed. What a full disk has taken half is written again when it has room.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from eyasd.core import room
from eyasd.core.errors import StartupFailed
from eyasd.core.jobs import Job, JobState, JobType
from eyasd.core.tracks import Track
from eyasd.trackers.follower import TrackerAway, TrackLost
from eyasd.trackers.story import Chapter, asked

NO_TENSORBOARD: Final = "trackers.tensorboard.dir needs tensorboard: install 'eyas[tensorboard]', or leave it unset."
_FILE: Final = "events.out.tfevents.eyas"
_VERSION: Final = "brain.Event:2"  # of the format, as the first record says


class TensorBoardTracker:
    """Writes below one folder. Belongs to one event loop."""

    name = "tensorboard"

    def __init__(self, folder: Path) -> None:
        """Writes nothing yet.

        Args:
            folder: made once there is a training to be told of.

        Raises:
            StartupFailed: TensorBoard is not installed.
        """
        self.place, self._folder = str(folder), folder
        try:
            # Of TensorBoard's package those parts alone, which take 60 ms to import; with tensorboardX that took seconds.
            from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2  # noqa: PLC0415
            from tensorboard.plugins.hparams import plugin_data_pb2  # noqa: PLC0415
            from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise StartupFailed(NO_TENSORBOARD) from error
        self._events: Any = event_pb2
        self._summaries: Any = summary_pb2
        self._tensors: Any = tensor_pb2
        self._text_type, self._number_type = types_pb2.DT_STRING, types_pb2.DT_FLOAT
        self._hparams: Any = plugin_data_pb2
        self._writer: Any = RecordWriter

    async def tell(self, track: Track, told: Chapter) -> Track:
        """See `trackers.follower.Tracker`."""
        run = track.run
        if not run:
            if told.job is None or told.job.type is not JobType.TRAINING or not told.job.attempt:
                return told.after
            run = f"{told.job.model}/{told.job.id}"
        return await asyncio.to_thread(self._write, track, told, run)

    async def tend(self) -> None:
        """Has nothing to do."""

    async def check(self) -> str:
        """See `trackers.follower.Tracker`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                return f"TensorBoard's files go to {self.place}"
        except OSError as error:
            raise TrackerAway(f"{self.place} cannot be written to: {room.told(error, self._folder)}") from error

    async def close(self) -> None:
        """Holds nothing open."""

    def _write(self, track: Track, told: Chapter, run: str) -> Track:
        """Writes what was told behind what is known to be there, and returns how much is there then."""
        content = b"".join(self._record(event) for event in self._told(track, told, new=not track.run))
        path = self._folder / run / _FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                if os.fstat(file).st_size < track.size_bytes:
                    raise TrackLost
                _put(file, content, track.size_bytes)
            finally:
                os.close(file)
        except OSError as error:
            raise TrackerAway(f"{path} could not be written: {room.told(error, self._folder)}") from error
        return replace(told.after, run=run, size_bytes=track.size_bytes + len(content))

    def _told(self, track: Track, told: Chapter, *, new: bool) -> Iterator[Any]:
        """Yields TensorBoard's events for what was told."""
        if new and told.job is not None:
            yield self._events.Event(wall_time=told.job.create_time.timestamp(), file_version=_VERSION)
            yield self._event(told.job.create_time, self._start(told.job), self._text("job", _words(told.job)))
        step = track.step
        for metric in told.metrics:
            time = metric.time.timestamp()
            if metric.step < step:  # an attempt that went on from a checkpoint: what lies beyond it is not to be seen any more
                start = self._events.SessionLog(status=self._events.SessionLog.START)
                yield self._events.Event(wall_time=time, step=metric.step, session_log=start)
            step = metric.step
            yield self._event(metric.time, self._summaries.Summary.Value(tag=metric.name, simple_value=metric.value), step=step)
        if told.job is not None and told.job.end_time is not None:
            yield self._event(told.job.end_time, self._end(told.job), self._text("end", _last_words(told.job)))

    def _event(self, time: datetime, *values: Any, step: int = 0) -> Any:
        return self._events.Event(wall_time=time.timestamp(), step=step, summary=self._summaries.Summary(value=values))

    def _text(self, tag: str, words: str) -> Any:
        """Returns Markdown, for TensorBoard's page of texts."""
        tensor = self._tensors.TensorProto(dtype=self._text_type, string_val=[words.encode()])
        return self._summaries.Summary.Value(tag=tag, metadata=self._of("text", b""), tensor=tensor)

    def _start(self, job: Job) -> Any:
        """Returns what was asked for, for TensorBoard's page of hyper-parameters."""
        start = self._hparams.SessionStartInfo(start_time_secs=job.create_time.timestamp())
        for name, value in asked(job).items():
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                start.hparams[name].number_value = value
            else:
                start.hparams[name].string_value = str(value)
        return self._session("session_start_info", session_start_info=start)

    def _end(self, job: Job) -> Any:
        status = "STATUS_SUCCESS" if job.state is JobState.SUCCEEDED else "STATUS_FAILURE"
        end = self._hparams.SessionEndInfo(status=status, end_time_secs=job.end_time.timestamp() if job.end_time else 0)
        return self._session("session_end_info", session_end_info=end)

    def _session(self, tag: str, **what: Any) -> Any:
        content = self._hparams.HParamsPluginData(version=0, **what).SerializeToString(deterministic=True)
        nothing = self._tensors.TensorProto(dtype=self._number_type, float_val=[0.0])
        return self._summaries.Summary.Value(tag=f"_hparams_/{tag}", metadata=self._of("hparams", content), tensor=nothing)

    def _of(self, plugin: str, content: bytes) -> Any:
        data = self._summaries.SummaryMetadata.PluginData(plugin_name=plugin, content=content)
        return self._summaries.SummaryMetadata(plugin_data=data)

    def _record(self, event: Any) -> bytes:
        content = BytesIO()
        self._writer(content).write(event.SerializeToString(deterministic=True))
        return content.getvalue()


def _words(job: Job) -> str:
    """Returns what a job is, in Markdown."""
    lines = {"model": job.model, "dataset": job.dataset, "owner": job.owner, **asked(job)}
    return "\n".join(f"- {name}: {value}" for name, value in lines.items() if value != "")


def _last_words(job: Job) -> str:
    """Returns how a job has ended, in Markdown."""
    if job.error is not None:
        return f"{job.state}: {job.error.message}"
    return f"{job.state}: {job.model}/{job.version}" if job.version else str(job.state)


def _put(file: int, content: bytes, at: int) -> None:
    """Writes all of it at a place of a file, and to the disk."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(file, rest, at)
        at, rest = at + written, rest[written:]
    os.fsync(file)
