"""MLflow's runs: found by the job they are of, made once, and filled. Knows MLflow's limits, not what a job is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, cast

from eyasd.core.jobs import Job, JobType
from eyasd.trackers.mlflow import words
from eyasd.trackers.mlflow.client import EXISTS, GONE, Client, Refused

_SEQUENCE: Final = "eyas.sequence"
# By which MLflow shows charts of runs, not traces of agents.
_EXPERIMENT_TAGS: Final = [{"key": "mlflow.experimentKind", "value": "custom_model_development"}]
_METRICS_A_BATCH: Final = 800
_PAIRS_A_BATCH: Final = 90


class Runs:
    """Of one server. Every call raises what `Client.post` raises."""

    def __init__(self, client: Client, experiment: str) -> None:
        """Remembers where they are.

        Args:
            client: of the server.
            experiment: a template of the experiment's name, with {model} and {type}.
        """
        self._client, self._template = client, experiment
        self._experiments: dict[str, str] = {}

    async def of(self, model: str, type_: JobType, job: str) -> str | None:
        """Returns the run of a job; None where none was made."""
        body = {
            "experiment_ids": [await self._experiment(model, type_)],
            "filter": f"tags.`{words.JOB}` = '{job}'",
            "run_view_type": "ALL",  # whoever deleted it does not want it again
            "order_by": ["attributes.start_time ASC"],
            "max_results": 1,
        }
        found = (await self._client.post("runs/search", body)).get("runs") or [None]
        return str(found[0]["info"]["run_id"]) if found[0] else None

    async def make(self, job: Job) -> str:
        """Returns the run of a job that has begun, made unless it was before, with what was asked for."""
        try:
            return await self._make(job)
        except Refused:
            if not self._experiments:
                raise
            self._experiments.clear()  # one that somebody has deleted for good is made again
            return await self._make(job)

    async def _make(self, job: Job) -> str:
        run = await self.of(job.model, job.type, job.id)
        if run is None:
            body = {
                "experiment_id": await self._experiment(job.model, job.type),
                "run_name": words.run_name(job),
                "start_time": words.milliseconds(job.start_time or job.create_time),
                "tags": words.pairs(words.job_tags(job)),
            }
            run = str((await self._client.post("runs/create", body))["run"]["info"]["run_id"])
        await self.describe(run, words.pairs(words.asked_params(job)), ())
        return run

    async def known(self, run: str) -> int:
        """Returns the sequence of the last event that a run has been told; 0 is none."""
        tags = (await self._client.get("runs/get", run_id=run))["run"]["data"].get("tags", [])
        return int(next((tag["value"] for tag in tags if tag["key"] == _SEQUENCE), 0))

    async def log(self, run: str, metrics: list[dict[str, Any]], tags: list[dict[str, str]], sequence: int) -> None:
        """Adds figures and tags to a run, and last the sequence up to which it has been told."""
        for first in range(0, len(metrics), _METRICS_A_BATCH):
            await self._client.post("runs/log-batch", {"run_id": run, "metrics": metrics[first : first + _METRICS_A_BATCH]})
        tags = [*tags, {"key": _SEQUENCE, "value": str(sequence)}]
        await self._client.post("runs/log-batch", {"run_id": run, "tags": tags})

    async def describe(self, run: str, params: Sequence[dict[str, str]], tags: Sequence[dict[str, str]]) -> None:
        """Adds params, and some tags, to a run."""
        for first in range(0, max(1, len(params)), _PAIRS_A_BATCH):
            some = list(params[first : first + _PAIRS_A_BATCH])
            await self._client.post("runs/log-batch", {"run_id": run, "params": some, "tags": [] if first else list(tags)})

    async def add_dataset(self, run: str, dataset: dict[str, str], use: str) -> None:
        """Says which dataset a run has used, and what for: `training` or `evaluation`."""
        tags = [{"key": "mlflow.data.context", "value": use}]
        with suppress(Refused):  # by servers of before 2023, which know no datasets
            await self._client.post("runs/log-inputs", {"run_id": run, "datasets": [{"dataset": dataset, "tags": tags}]})

    async def show(self, run: str, job: Job) -> None:
        """Shows a job's state."""
        body: dict[str, Any] = {"run_id": run, "status": words.STATUSES[job.state], "run_name": words.run_name(job)}
        if job.end_time is not None:
            body["end_time"] = words.milliseconds(job.end_time)
        await self._client.post("runs/update", body)

    async def artifacts(self, run: str) -> str:
        """Returns the address of a run's artifacts."""
        return str((await self._client.get("runs/get", run_id=run))["run"]["info"]["artifact_uri"])

    async def _experiment(self, model: str, type_: JobType) -> str:
        name = self._template.format(model=model, type=type_)
        known = self._experiments.get(name)
        if known is None:
            known = self._experiments[name] = await self._experiment_of(name)
        return known

    async def _experiment_of(self, name: str) -> str:
        """Returns the id of an experiment, made unless it is there."""
        try:
            return await self._look_up(name)
        except Refused as error:
            if error.code != GONE:
                raise
        try:
            return str((await self._client.post("experiments/create", {"name": name, "tags": _EXPERIMENT_TAGS}))["experiment_id"])
        except Refused as error:
            if error.code != EXISTS:  # somebody was quicker
                raise
            return await self._look_up(name)

    async def _look_up(self, name: str) -> str:
        found = await self._client.get("experiments/get-by-name", experiment_name=name)
        return cast("str", found["experiment"]["experiment_id"])
