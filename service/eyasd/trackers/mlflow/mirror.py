"""MLflow's registry as a mirror of the repository: each version with its address, and each alias where it points.

What is there is compared with what should be, so it does not matter what was missed: promotions, rollbacks and deletions during an
outage come with the next look. Versions that are not of this repository are left alone. MLflow numbers by itself; `eyas.version` is
the number of a version here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from eyasd.core.errors import BrokenBundle, EyasError, NotFound
from eyasd.core.jobs import JobType
from eyasd.registry.models import Models
from eyasd.trackers.follower import TrackerAway
from eyasd.trackers.mlflow import words
from eyasd.trackers.mlflow.client import GONE, Client, Refused
from eyasd.trackers.mlflow.runs import Runs

_ALIASES_SECONDS: Final = 5.0
_VERSIONS_SECONDS: Final = 60.0  # which lists the repository
_VERSION: Final = "eyas.version"
_REPOSITORY: Final = "eyas.repository"
_PAGE: Final = "200"
_MOST_PAGES: Final = 1000


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What of a model is to be seen: its versions, and where its aliases point."""

    versions: frozenset[int]
    aliases: frozenset[tuple[str, int]]


class Mirror:
    """Of one repository in one server. Belongs to one event loop."""

    def __init__(
        self,
        client: Client,
        runs: Runs,
        models: Models,
        repository: str,
        log: structlog.typing.FilteringBoundLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects to nothing yet.

        Args:
            client: of the server.
            runs: of it.
            models: the repository.
            repository: its address.
            log: hears of what MLflow does not take.
            clock: in seconds, never jumps.
        """
        self._client, self._runs, self._models, self._repository = client, runs, models, repository
        self._log, self._clock = log, clock
        self._aliases_due = self._versions_due = float("-inf")
        self._pointers: dict[str, frozenset[tuple[str, int]]] = {}
        self._wanted: dict[str, Mirrored] = {}
        self._shown: dict[str, Mirrored] = {}

    def wake(self) -> None:
        """There is probably something new."""
        self._aliases_due = self._versions_due = float("-inf")

    async def look(self) -> None:
        """Brings over what has changed, now and then.

        Raises:
            TrackerAway: MLflow, or the repository, does not answer; the next look brings over the rest.
        """
        if self._clock() < self._aliases_due:
            return
        try:
            wanted = await asyncio.to_thread(self._look)
        except EyasError as error:
            raise TrackerAway(f"the repository cannot be read: {error.message}") from error
        for model in wanted.keys() | self._shown.keys():
            there = wanted.get(model, Mirrored(frozenset(), frozenset()))
            if self._shown.get(model) != there:
                try:
                    await self._show(model, there)
                except Refused as error:
                    self._log.warning("tracker refuses a model", model=model, error=str(error))
                self._shown[model] = there
        self._aliases_due = self._clock() + _ALIASES_SECONDS

    def _look(self) -> dict[str, Mirrored]:
        """Returns what is to be seen: aliases as they are, and versions where an alias has moved or some time has gone by."""
        pointers = {model: frozenset(found.aliases.items()) for model, found in self._models.pointers().items()}
        if pointers == self._pointers and self._clock() < self._versions_due:
            return self._wanted
        found = {}
        for model in self._models.names():
            with suppress(NotFound):  # its last version was deleted at this moment
                found[model] = Mirrored(frozenset(self._models.versions(model)), pointers.get(model, frozenset()))
        self._wanted, self._pointers, self._versions_due = found, pointers, self._clock() + _VERSIONS_SECONDS
        return found

    async def _show(self, model: str, wanted: Mirrored) -> None:
        """Makes MLflow's model what it is to be."""
        aliases = await self._aliases(model)
        there = await self._versions(model)
        for version in sorted(wanted.versions - there.keys()):
            there[version] = await self._make(model, version)
        for version in there.keys() - wanted.versions:
            await self._client.post("model-versions/delete", {"name": model, "version": there[version]}, method="DELETE")
        for alias, version in wanted.aliases:
            number = there.get(version)
            if number is not None and aliases.get(alias) != number:
                await self._point(model, alias, number)

    async def _make(self, model: str, version: int) -> str:
        """Makes a version in MLflow, and returns its number there."""
        tags: dict[str, object] = {_VERSION: version, _REPOSITORY: self._repository}
        body: dict[str, Any] = {"name": model, "source": _source(self._repository, model, version)}
        try:
            manifest = await asyncio.to_thread(self._models.manifest, model, version)
        except BrokenBundle as error:
            tags["eyas.error"] = error.message
        else:
            tags |= words.version_tags(manifest) | {
                words.JOB: manifest.lineage.job,
                "eyas.accuracy": manifest.evaluation.accuracy,
            }
            body["description"] = words.description(manifest)
            if run := await self._runs.of(model, JobType.TRAINING, manifest.lineage.job):
                body["run_id"] = run
        made = await self._client.post("model-versions/create", {**body, "tags": words.pairs(tags)})
        return str(made["model_version"]["version"])

    async def _point(self, model: str, alias: str, number: str) -> None:
        try:
            await self._client.post("registered-models/alias", {"name": model, "alias": alias, "version": number})
        except Refused as error:  # some names are its own, such as `latest`
            self._log.warning("tracker refuses an alias", model=model, alias=alias, error=str(error))

    async def _aliases(self, model: str) -> dict[str, str]:
        """Returns where MLflow's aliases of a model point, which it makes unless it is there."""
        try:
            found = await self._client.get("registered-models/get", name=model)
        except Refused as error:
            if error.code != GONE:
                raise
            with suppress(Refused):  # somebody was quicker
                await self._client.post("registered-models/create", {"name": model})
            return {}
        return {one["alias"]: str(one["version"]) for one in found["registered_model"].get("aliases", [])}

    async def _versions(self, model: str) -> dict[int, str]:
        """Returns MLflow's numbers of the versions of this repository."""
        found: dict[int, str] = {}
        query = {"filter": f"name='{model}'", "max_results": _PAGE}
        for _ in range(_MOST_PAGES):
            page: dict[str, Any] = await self._client.get("model-versions/search", **query)
            for one in page.get("model_versions", []):
                tags = {tag["key"]: tag["value"] for tag in one.get("tags", [])}
                if tags.get(_REPOSITORY) == self._repository and tags.get(_VERSION, "").isdecimal():
                    found[int(tags[_VERSION])] = str(one["version"])
            if not page.get("next_page_token"):
                return found
            query["page_token"] = str(page["next_page_token"])
        raise TrackerAway(f"it lists more than {_MOST_PAGES:,} pages of versions of {model}")


def _source(repository: str, model: str, version: int) -> str:
    """Returns the address of a version; of a folder's with a scheme of ours, or MLflow would look for it on its own machine."""
    return f"{repository.replace('file://', 'eyas://', 1)}/{model}/{version}"
