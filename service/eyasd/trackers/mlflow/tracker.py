"""Jobs as MLflow's runs: one run a job, into which its attempts are folded, found again by its tag `eyas.job`.

Twice is once: figures have the times of their events, by which MLflow knows the same ones again, and the tag `eyas.sequence`,
written after them, says what a run has already. A run that somebody has deleted there is not made again.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from typing import BinaryIO, Final, cast
from urllib.parse import urlsplit

import structlog

from eyasd.core import bundle, document
from eyasd.core.errors import BrokenBundle, NotFound
from eyasd.core.jobs import Job, JobState, JobType
from eyasd.core.tracks import Track
from eyasd.registry.models import Models
from eyasd.trackers.mlflow import words
from eyasd.trackers.mlflow.client import Client
from eyasd.trackers.mlflow.mirror import Mirror
from eyasd.trackers.mlflow.runs import Runs
from eyasd.trackers.story import Chapter

_KEPT_BY_SERVER: Final = "mlflow-artifacts"
_EVALUATION: Final = "evaluation.json"


class MlflowTracker:
    """Tells one server. Belongs to one event loop."""

    name = "mlflow"

    def __init__(
        self,
        client: Client,
        runs: Runs,
        place: str,
        models: Models,
        mirror: Mirror | None,
        log: structlog.typing.FilteringBoundLogger,
        *,
        with_model: bool = False,
    ) -> None:
        """Connects to nothing yet.

        Args:
            client: of the server.
            runs: of it.
            place: the server's address.
            models: where the versions are.
            mirror: of the repository; None leaves MLflow's registry alone.
            log: hears of what cannot be kept.
            with_model: whether model.onnx goes along.
        """
        self._client, self._runs, self.place = client, runs, place
        self._models, self._mirror, self._log = models, mirror, log
        self._files = (bundle.MANIFEST, bundle.REPORT, *((bundle.MODEL,) if with_model else ()))
        self._told: dict[str, int] = {}  # what runs that are under way are sure to know
        self._keeps = True

    async def tell(self, track: Track, told: Chapter) -> Track:
        """See `trackers.follower.Tracker`."""
        job, run = told.job, track.run
        if not run:
            if job is None or not _is_run(job):
                return told.after
            run = await self._runs.make(job)
        after, sure = replace(told.after, run=run), self._told.pop(track.job, None)
        known = sure if sure == track.sequence else await self._runs.known(run)
        if known < after.sequence:
            tags = words.pairs(words.job_tags(job)) if job else []
            await self._runs.log(run, words.figures(told.metrics), tags, after.sequence)
        if job is not None:
            if job.state is JobState.SUCCEEDED:
                await self._end(run, job)
            await self._runs.show(run, job)
        if not after.done:
            self._told[track.job] = after.sequence
        return after

    async def tend(self) -> None:
        """Mirrors the registry."""
        if self._mirror is not None:
            await self._mirror.look()

    async def check(self) -> str:
        """See `trackers.follower.Tracker`."""
        await self._client.post("experiments/search", {"max_results": 1})
        return f"MLflow answers at {self.place}"

    async def close(self) -> None:
        """See `Client.close`."""
        await self._client.close()

    async def _end(self, run: str, job: Job) -> None:
        """Adds what has come of a job: of a training the version, as far as it is there still."""
        if job.type is JobType.EVALUATION and job.evaluation is not None:
            with tempfile.TemporaryFile() as file:
                file.write(document.dump(job.evaluation).encode())
                await self._keep(run, _EVALUATION, file)
        if job.type is not JobType.TRAINING or not job.version:
            return
        if self._mirror is not None:
            self._mirror.wake()
        try:
            manifest = await asyncio.to_thread(self._models.manifest, job.model, job.version)
            tags = {**words.version_tags(manifest), "mlflow.note.content": words.description(manifest)}
            await self._runs.describe(run, words.pairs(words.used_params(manifest)), words.pairs(tags))
            await self._runs.add_dataset(run, words.dataset(job, manifest.dataset_report.digest), "training")
            for name in self._files:
                with tempfile.TemporaryFile() as file:
                    if name == bundle.MANIFEST:
                        file.write(document.dump(manifest).encode())
                    else:
                        await asyncio.to_thread(self._models.fetch_into, job.model, job.version, name, file)
                    await self._keep(run, name, file)
        except (NotFound, BrokenBundle) as error:  # deleted or damaged meanwhile
            self._log.warning("version is not shown to tracker", tracker=self.name, job=job.id, error=error.message)

    async def _keep(self, run: str, name: str, file: object) -> None:
        """Makes a file an artifact of a run, where the server keeps those itself."""
        place = urlsplit(await self._runs.artifacts(run))
        if place.scheme == _KEPT_BY_SERVER:
            content = cast("BinaryIO", file)
            content.seek(0)
            await self._client.upload(f"{place.path.strip('/')}/{name}", content)
        elif self._keeps:
            self._keeps = False
            self._log.warning(
                "artifacts stay out of tracker: its server does not keep them itself, see `mlflow server --artifacts-destination`",
                tracker=self.name,
                scheme=place.scheme,
            )


def _is_run(job: Job) -> bool:
    """Returns whether there is anything to show of a job: what waits for its first turn has none, nor has an inspection."""
    return job.type is not JobType.INSPECTION and (job.start_time is not None or job.state.ended)
