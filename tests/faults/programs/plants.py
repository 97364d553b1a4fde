"""Bugs that a daemon is given on purpose, to see that they are found."""

from __future__ import annotations

import secrets
import threading
import time
from pathlib import Path
from typing import Any


def plant(name: str) -> None:
    """Plants a bug in this daemon."""
    import leaks

    if name in leaks.LEAKS:
        leaks.leak(name)
        return
    plants = (_forgets, _again, _early, _unsaved, _skips, _mixes, _forgetful)
    {plant.__name__.removeprefix("_"): plant for plant in plants}[name]()


def _forgets() -> None:
    """A daemon that starts does not look for processes that an earlier one has left, nor do locks keep it from beginning anew."""
    from eyasd.jobs import local

    async def attach(self: Any, launch: Any) -> None:
        return None

    start = local.LocalRunner.start

    async def unlocked(self: Any, launch: Any) -> Any:
        (launch.job_dir / "lock").unlink(missing_ok=True)  # the file that the process has locked is another one now
        return await start(self, launch)

    local.LocalRunner.attach = attach  # type: ignore[method-assign,assignment]
    local.LocalRunner.start = unlocked  # type: ignore[method-assign]


def _again() -> None:
    """Nothing tells that an attempt has published its version already."""
    from eyasd.registry.models import Models

    publish = Models.publish

    def unclaimed(self: Models, model: str, folder: Path, job: str, attempt: int = 1) -> int:
        version = publish(self, model, folder, secrets.token_hex(5), attempt)
        time.sleep(1)  # on a slow disk
        return version

    Models.publish = unclaimed  # type: ignore[method-assign]


def _early() -> None:
    """The manifest of a version is written before its other files."""
    from eyasd.core.bundle import MANIFEST
    from eyasd.registry.bundles import Bundles

    write = Bundles.write

    def manifest_first(self: Bundles, model: str, version: int, folder: Path) -> None:
        place = f"{model}/{version}/{MANIFEST}"
        self._store.create(place, (folder / MANIFEST).read_bytes())
        time.sleep(0.1)  # on a slow disk
        write(self, model, version, folder)

    Bundles.write = manifest_first  # type: ignore[method-assign]


def _unsaved() -> None:
    """A job is acknowledged before it is on the disk."""
    from eyasd.core.jobs import Job
    from eyasd.jobs.store import JobStore

    submit = JobStore.submit

    def soon(self: JobStore, job: Job, *rest: Any) -> Job:
        threading.Timer(0.3, submit, (self, job, *rest)).start()
        return job

    JobStore.submit = soon  # type: ignore[method-assign]


def _skips() -> None:
    """How far the lines of a process were read is not kept with what they said."""
    from eyasd.jobs.store import JobStore

    position = JobStore.progress_bytes

    def forgotten(self: JobStore, job: str) -> int:
        return 0 if position(self, job) < 4000 else position(self, job)

    JobStore.progress_bytes = forgotten  # type: ignore[method-assign]


def _mixes() -> None:
    """The answer to every hundredth picture is that of the one before."""
    from eyasd.serving.engine.link import Engine

    read, answers = Engine._read, []

    def mixed(self: Engine, *asked: Any) -> Any:
        answers.append(read(self, *asked))
        return answers[-2 if len(answers) % 100 == 0 else -1]

    Engine._read = mixed  # type: ignore[method-assign]


def _forgetful() -> None:
    """A record of an alias takes the place of the one before."""
    from eyasd.core.promotion import AliasRecord
    from eyasd.registry.records import Records

    append = Records.append

    def replacing(self: Records[Any], prefix: str, number: int, record: Any) -> bool:
        if isinstance(record, AliasRecord) and number > 1:
            self._store.delete(f"{prefix}/{number - 1:08d}.json")
        return append(self, prefix, number, record)

    Records.append = replacing  # type: ignore[method-assign]
