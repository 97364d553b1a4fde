"""A back-up, and the way back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from builders import write_bundle
from eyasd.backup.place import Place
from eyasd.backup.restoring import restore
from eyasd.backup.saving import back_up
from eyasd.config import Settings, read_settings
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from faults.crash.scenario import Ack, Scenario
from faults.crash.scenarios.jobs import JOB, open_jobs
from faults.crash.scenarios.uploads import wrong_datasets
from faults.crash.scenarios.versions import hidden_files, wrong_versions
from uploads import open_uploads, upload


def _lay_daemon(data: Path) -> None:
    models = Models(LocalStore(data / "models"))
    models.publish("m", write_bundle(data / "made"), "job0")
    models.promote("m", "production", 1, actor="test", reason="")
    upload(open_uploads(data), "photos", {"red/1.png": b"red"})
    store = open_jobs(data)
    store.submit(replace(JOB, id="job0"), None, "before")
    store.close()


def _settings(data: Path) -> Settings:
    return read_settings(None, {"data_dir": data})


def _save(root: Path) -> str:
    back_up(_settings(root / "data"), str(root / "place"), structlog.get_logger(), out := io.StringIO())
    return out.getvalue().partition(":")[0]


def _bring(root: Path) -> None:
    restore(_settings(root / "restored"), str(root / "place"), None, structlog.get_logger(), io.StringIO())


def _wrong_restored(root: Path) -> Iterator[str]:
    """Yields what is wrong with what has been restored, however much of it."""
    yield from wrong_versions(Models(LocalStore(root / "restored" / "models")))
    yield from wrong_datasets(open_uploads(root / "restored"))


class BackUp(Scenario[Path]):
    """A second back-up, after a first."""

    def lay(self, root: Path) -> None:
        _lay_daemon(root / "data")
        _save(root)
        models = Models(LocalStore(root / "data" / "models"))
        models.publish("m", write_bundle(root / "data" / "made2", gain=0.06), "job2")

    def open(self, root: Path) -> Path:
        return root

    def act(self, opened: Path, ack: Ack) -> None:
        ack(_save(opened))

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        names = [key.removesuffix(".json") for key in LocalStore(root / "place").children("backups")]
        if not set(acked) <= set(names):
            yield f"of the back-ups {acked} are {names} there"
        for name in names:
            backup = Place(str(root / "place")).get(name)[1]
            for digest in {kept.sha256 for kept in backup.objects} | {backup.jobs}:
                with (root / "restored-blob").open("wb+") as file:
                    Place(str(root / "place")).fetch(digest, file)

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, [])
        _bring(root)
        yield from _wrong_restored(root)
        if Models(LocalStore(root / "restored" / "models")).versions("m") != [1, 2]:
            yield "not all versions came back"
        yield from hidden_files(root / "place")


class Restore(Scenario[Path]):
    """The way back to where a daemon was started once."""

    def lay(self, root: Path) -> None:
        (root / "restored").mkdir()
        open_jobs(root / "restored").close()
        _lay_daemon(root / "data")
        _save(root)

    def open(self, root: Path) -> Path:
        return root

    def act(self, opened: Path, ack: Ack) -> None:
        if not self._jobs(opened):  # they come last
            _bring(opened)
        ack("restored")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        yield from _wrong_restored(root)
        if "restored" in acked and not self._jobs(root):
            yield "the jobs did not come back"

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, ["restored"])
        for name in ("models", "datasets"):
            if LocalStore(root / "restored" / name).keys("") != LocalStore(root / "data" / name).keys(""):
                yield f"the {name} are others"
            yield from hidden_files(root / "restored" / name)

    def _jobs(self, root: Path) -> list[str]:
        if not (root / "restored" / "jobs.sqlite").exists():
            return []
        store = open_jobs(root / "restored")
        jobs = [job.id for job in store.page(None, 10)[0]]
        store.close()
        return jobs
