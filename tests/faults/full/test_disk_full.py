"""A disk that is full for real, but for 0, 4, 8 ... KB: what fails is told of, loses nothing, and works when there is room."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest
import structlog
from tests.faults.conftest import Tell
from tests.faults.disk import PAGE, Disk

from builders import write_bundle
from eyasd.backup.place import Place
from eyasd.backup.saving import back_up
from eyasd.config import read_settings
from eyasd.core import room
from eyasd.core.errors import StorageFailed
from eyasd.core.jobs import Job, JobEvent, JobType, Lease
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import Sources
from eyasd.jobs import folder
from eyasd.jobs.store import JobStore
from eyasd.machine import stores_of
from eyasd.registry.models import Models
from eyasd.storage.cache import ObjectCache, object_id
from eyasd.storage.local import LocalStore
from eyasd.training import durable
from uploads import blob, open_uploads

KILOBYTES = 300
# What is wrong, and with how much room.
ANSWER = re.compile(
    r"(No space left on device|database or disk is full|disk I/O error|is full).*\d (bytes|MB) of [\d.]+ MB are free"
)
# Every page up to what an act takes, and more; and what every change can wait for.
ALL, FEW = range(200), (0, 1, 2, 5, 20, 76, 150)


class Act(Protocol):
    """Something that is done to a disk, again and again."""

    def __call__(self, number: int) -> None:
        """Does it for that time. Raises StorageFailed."""
        ...

    def check(self, done: int) -> None:
        """Asserts that all that was done so often is there, and nothing else is seen; the next time may have failed."""
        ...


def content(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest() * (KILOBYTES * 32)


class Writing:
    """An object is replaced, and another one created."""

    def __init__(self, disk: Disk, *_: object) -> None:
        self.store, self.disk = LocalStore(disk.folder / "store"), disk

    def __call__(self, number: int) -> None:
        self.store.write("a/replaced", content(number))
        self.store.create(f"a/created-{number % 4}", b"small" * 2000)
        self.store.delete(f"a/created-{(number - 1) % 4}")

    def check(self, done: int) -> None:
        assert self.store.read("a/replaced") in {content(done - 1), content(done)}
        assert not [name for name in self.disk.files() if "/." in name]


class Publishing:
    """A version is published, and an alias moved to it."""

    def __init__(self, disk: Disk, place: Path, _: object) -> None:
        self.models, self.place = Models(LocalStore(disk.folder / "models")), place

    def __call__(self, number: int) -> None:
        job = f"job{number}"
        made = write_bundle(self.place / job, job=job)
        version = self.models.publish("colours", made, job)
        self.models.promote("colours", "production", version, actor="ann", reason="")

    def check(self, done: int) -> None:
        versions = self.models.versions("colours")
        assert versions in ([*range(1, done + 1)], [*range(1, done + 2)])
        for version in versions[-2:]:
            assert not [checked for checked in self.models.check("colours", version) if checked.problem]
        history = self.models.aliases.history("colours", "production")
        assert [record.version for record in history][-1] in versions
        assert len(history) >= done


class Uploading:
    """Small content and large content, which comes in pieces, arrive; what came of a part is gone on with."""

    def __init__(self, disk: Disk, *_: object) -> None:
        self.datasets = open_uploads(disk.folder)
        self.kept: list[bytes] = []

    def __call__(self, number: int) -> None:
        blobs, large = self.datasets.blobs, content(number)
        blobs.put(blob(b"%d" % number), b"%d" % number)
        for _, start in blobs.missing([blob(large)]):
            arrival = blobs.arrive(blob(large), start)
            try:
                for at in range(start, len(large), 50_000):
                    arrival.add(large[at : at + 50_000])
                arrival.finish()
            finally:
                arrival.leave()
        blobs.delete([blob(old) for old in self.kept[:-2]])
        self.kept = [*self.kept[-2:], large]

    def check(self, done: int) -> None:
        for one in self.kept:
            assert self.datasets.blobs.store.read(blob(one).key) == one
        for found in self.datasets.blobs.store.find("blobs"):
            assert hashlib.sha256(self.datasets.blobs.store.read(found.key)).hexdigest() == found.key.rpartition("/")[2]


class Fetching:
    """Small objects are kept in a pack, and a large one by parts."""

    def __init__(self, disk: Disk, *_: object) -> None:
        self.cache, self.disk = ObjectCache(disk.folder / "fetched", 3_000_000, "job"), disk

    def __call__(self, number: int) -> None:
        known, large, small = self._known(number), content(number), b"small" * 2000
        self.cache.put([(known[0], small, hashlib.sha256(small).digest())])
        part = len(large) // 3
        with self.cache.draft(known[1], len(large), lambda: None) as draft:
            done = draft.finished(part)
            for start in range(0, len(large), part):
                if start not in done:
                    draft.note(start, draft.write(start, large[start : start + part]))
            draft.publish(draft.read_back(part))
        self.cache.release()

    def check(self, done: int) -> None:
        self.disk.free()  # who reads notes what he uses
        piece = self.cache.find([self._known(done)[1]])[0]
        for found in (piece, self.cache.find([self._known(done - 1)[1]])[0]):
            assert found is None or hashlib.sha256(found.path.read_bytes()[found.start :]).hexdigest() == found.sha256
        self.cache.release()

    @staticmethod
    def _known(number: int) -> tuple[bytes, bytes]:
        return object_id("s3://p", "small", str(number), 1), object_id("s3://p", "large", str(number), 1)


class Checkpointing:
    """A checkpoint takes the place of the one before."""

    def __init__(self, disk: Disk, *_: object) -> None:
        self.disk = disk

    def __call__(self, number: int) -> None:
        try:
            durable.write(self.disk.folder / "checkpoint", content(number))
        except OSError as error:  # which the training tells, see `loop`
            raise StorageFailed(room.told(error, self.disk.folder)) from error

    def check(self, done: int) -> None:
        assert self.disk.files() in ({"checkpoint": content(done - 1)}, {"checkpoint": content(done)})


class Submitting:
    """A job and its events are taken down, and its folder is prepared."""

    def __init__(self, disk: Disk, place: Path, log: structlog.typing.FilteringBoundLogger) -> None:
        self.disk, self.models = disk, Models(LocalStore(place / "models"))
        self.store, self.datasets = JobStore(disk.folder / "jobs.sqlite", log), open_uploads(place)

    def __call__(self, number: int) -> None:
        now = datetime.now(UTC)
        job = Job(id=f"job{number}", type=JobType.TRAINING, create_time=now, model="m", dataset="/d", spec=TrainSpec())
        self.store.submit(job, f"request{number}", "{}")
        claimed = self.store.leases.claim("replica", [job.id]) or self.store.get(job.id)
        folder.prepare(self.disk.folder / "jobs" / job.id, claimed, self.models, self.datasets, None, False, None, Sources())
        events = [JobEvent(0, now, message="x" * 1000) for _ in range(40)]
        self.store.record(Lease(job.id, claimed.attempt, "replica"), events, 1000, since=0)

    def check(self, done: int) -> None:
        assert {f"job{number}" for number in range(done)} <= {job.id for job in self.store.page(None, 1000)[0]}
        assert [event.sequence for event in self.store.events(f"job{done - 1}", 0)] == [*range(1, 43)]


class BackingUp:
    """A back-up is made of a data folder that has grown."""

    def __init__(self, disk: Disk, place: Path, log: structlog.typing.FilteringBoundLogger) -> None:
        self.settings, self.log, self.to = read_settings(None, {"data_dir": place / "from"}), log, disk.folder / "backups"

    def __call__(self, number: int) -> None:
        stores_of(self.settings)["models"].write("m/object", content(number)[:30_000])
        back_up(self.settings, str(self.to), self.log, io.StringIO())

    def check(self, done: int) -> None:
        names = LocalStore(self.to).children("backups")
        assert len(names) >= done
        for name in names[-2:]:
            _, backup = Place(str(self.to)).get(name.removesuffix(".json"))
            for kept in backup.objects:
                with io.BytesIO() as copy:
                    Place(str(self.to)).fetch(kept.sha256, copy)


ACTS: list[Callable[..., Act]] = [Writing, Publishing, Uploading, Fetching, Checkpointing, Submitting, BackingUp]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("disk", [48], indirect=True)  # for all that is kept of 200 times
def test_a_full_disk_is_told_of_loses_nothing_and_is_gone_on_with(
    act: Callable[..., Act],
    disk: Disk,
    tmp_path: Path,
    log: structlog.typing.FilteringBoundLogger,
    all_faults: bool,
    tell: Tell,
) -> None:
    acting, sentences, steps = act(disk, tmp_path, log), list[str](), ALL if all_faults else FEW
    acting(0)
    acting.check(1)
    for number, pages in enumerate(steps, 1):
        disk.fill(pages * PAGE)
        try:
            acting(number)
        except StorageFailed as error:
            sentences.append(error.message)
            acting.check(number)
            disk.free()
            acting(number)
        disk.free()
        acting.check(number + 1)
    assert not [sentence for sentence in sentences if not ANSWER.search(sentence)]
    assert 0 < len(sentences) < len(steps)  # from too little room to enough of it
    tell(f"disk full with 0, 4, 8 ... KB left: {act.__doc__}", f"{len(steps)}, of which {len(sentences)} failed", "0")
