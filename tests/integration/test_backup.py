"""`eyasd backup` and `eyasd restore`: from any kind of place into any other, whole, checked, and while daemons write."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from builders import write_bundle
from eyasd.__main__ import main
from eyasd.backup import saving
from eyasd.backup.restoring import restore
from eyasd.backup.saving import back_up
from eyasd.config import Settings, read_settings
from eyasd.core.errors import StartupFailed, StorageFailed
from eyasd.core.jobs import Job, JobEvent, JobType
from eyasd.core.names import ModelRef
from eyasd.core.traffic import Canary
from eyasd.machine import open_datasets, open_jobs, stores_of
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from postgres import Postgres
from uploads import upload

ANN: dict[str, Any] = {"actor": "ann", "reason": ""}
Log = structlog.typing.FilteringBoundLogger


def settings_of(folder: Path, url: str | None = None, database: str | None = None) -> Settings:
    return read_settings(None, {"data_dir": folder, "registry": {"url": url}, "jobs": {"database": database}})


def save(settings: Settings, where: object, log: Log) -> str:
    back_up(settings, str(where), log, out := io.StringIO())
    return out.getvalue()


def bring(settings: Settings, where: object, log: Log, name: str | None = None) -> str:
    restore(settings, str(where), name, log, out := io.StringIO())
    return out.getvalue()


def job(name: str) -> Job:
    return Job(id=name, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d")


def models_of(settings: Settings) -> Models:
    return Models(stores_of(settings)["models"])


def objects(settings: Settings) -> dict[str, bytes]:
    return {f"{name}/{key}": store.read(key) for name, store in stores_of(settings).items() for key in store.keys("")}


def jobs(settings: Settings, log: Log, *, more: int = 0) -> list[tuple[Job, list[JobEvent]]]:
    """Returns the jobs and their events, after so many more were submitted."""
    store = open_jobs(settings, log)
    try:
        for _ in range(more):
            store.submit(job(f"job{len(store.page(None, 5000)[0])}"), None, "{}")
        return [(one, store.events(one.id, 0)) for one in store.page(None, 5000)[0]]
    finally:
        store.close()


@pytest.fixture
def filled(tmp_path: Path, log: Log) -> Settings:
    """A data folder with versions, aliases, a canary, a deletion, and jobs."""
    settings = settings_of(tmp_path / "data")
    models = models_of(settings)
    for number in (1, 2, 3):
        models.publish("colours", write_bundle(tmp_path / f"bundle{number}", job=f"job{number}"), f"job{number}")
        models.promote("colours", "production", number, **ANN)
    models.rollback("colours", "production", **ANN)
    models.set_traffic("colours", Canary(ModelRef("colours", version=3), 5.0), None, **ANN)
    models.delete("colours", 1, timedelta(0))
    upload(open_datasets(settings), "photos", {"shirt/1.jpg": b"one", "hat/1.jpg": b"two"})
    store = open_jobs(settings, log)
    for number in range(3):
        store.submit(job(f"job{number}"), f"request{number}", "{}")
    store.cancel("job1")
    store.close()
    return settings


def test_from_folder_to_bucket_and_back_and_from_sqlite_to_postgres_and_back(
    filled: Settings, tmp_path: Path, log: Log, s3_address: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyasd.jobs.export._ROWS_A_LINE", 2)
    kept, told = objects(filled), jobs(filled, log)
    stores_of(filled)["datasets"].write("pending/upload", b"sha256")  # which is not kept
    assert f"{len(kept)} objects of " in save(filled, f"{s3_address}/backups", log)
    assert "; 0 were not in" in save(filled, f"{s3_address}/backups", log)
    shared = settings_of(tmp_path / "shared", f"{s3_address}/models", postgres.url(postgres.create()))
    assert bring(shared, f"{s3_address}/backups", log).endswith(", 3 jobs are restored\n")
    assert (objects(shared), jobs(shared, log)) == (kept, told)
    assert not (tmp_path / "shared/models").exists()
    told = jobs(shared, log, more=2)  # which are numbered after those that came

    save(shared, tmp_path / "backups", log)
    laptop = settings_of(tmp_path / "laptop")
    bring(laptop, tmp_path / "backups", log)
    assert (objects(laptop), jobs(laptop, log)) == (kept, told)
    assert [one.id for one, _ in jobs(laptop, log, more=1)] == ["job5", "job4", "job3", "job2", "job1", "job0"]
    pointers = models_of(laptop).pointers()["colours"]
    assert (pointers.aliases, pointers.by_number) == ({"production": 2}, (3,))
    assert models_of(laptop).versions("colours") == [2, 3]


class BusyStore(LocalStore):
    """A store in which another version is published and promoted, and the one before deleted, when so many calls have been made.

    Attributes:
        at: numbers of the calls, from 0, before which that happens.
        calls: how many there have been.
    """

    def __init__(self, root: Path, bundle: Path, at: range, *, deletes: bool) -> None:
        super().__init__(root)
        self._models, self._bundle, self.at, self._deletes, self.calls = Models(LocalStore(root)), bundle, at, deletes, 0

    def change(self) -> None:
        version = self._models.publish("colours", self._bundle, f"job{self.calls}")
        self._models.promote("colours", "production", version, **ANN)
        if self._deletes and version > 1:
            self._models.delete("colours", version - 1, timedelta(0))

    def keys(self, prefix: str) -> list[str]:
        self._count()
        return super().keys(prefix)

    def read_into(self, key: str, sink: Any) -> None:
        self._count()
        super().read_into(key, sink)

    def _count(self) -> None:
        if self.calls in self.at:
            self.change()
        self.calls += 1


@pytest.mark.parametrize("deletes", [False, True])
@pytest.mark.parametrize("call", [1, 2, 3, 10, 11])  # three listings, seven objects of content, a manifest, a record
def test_nothing_in_a_copy_leans_on_what_is_not_there(
    tmp_path: Path, tiny_bundle: Path, log: Log, monkeypatch: pytest.MonkeyPatch, call: int, *, deletes: bool
) -> None:
    settings = settings_of(tmp_path / "data")
    busy = BusyStore(tmp_path / "data/models", tiny_bundle, range(call, call + 1), deletes=deletes)
    busy.change()
    monkeypatch.setattr(saving, "stores_of", lambda _: {"models": busy})
    monkeypatch.setattr(saving, "OBJECTS_AT_ONCE", 1)
    save(settings, tmp_path / "backups", log)
    assert busy.calls > call
    copy = settings_of(tmp_path / "copy")
    bring(copy, tmp_path / "backups", log)
    models = models_of(copy)
    versions = models.versions("colours")
    assert all(not checked.problem for version in versions for checked in models.check("colours", version))
    history = models.aliases.history("colours", "production")
    assert [record.record for record in history] == list(range(1, len(history) + 1))
    assert history[-1].version in versions


def test_where_something_is_deleted_all_the_time_there_is_no_back_up(
    tmp_path: Path, tiny_bundle: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = BusyStore(tmp_path / "data/models", tiny_bundle, range(1000), deletes=True)
    busy.change()
    monkeypatch.setattr(saving, "stores_of", lambda _: {"models": busy})
    monkeypatch.setattr(saving, "_TRIES", 2)
    with pytest.raises(StorageFailed, match="Of the models something was deleted whenever they were copied"):
        save(settings_of(tmp_path / "data"), tmp_path / "backups", log)
    assert not (tmp_path / "backups/backups").exists()


def test_a_damaged_back_up_is_named_and_not_restored(filled: Settings, tmp_path: Path, log: Log) -> None:
    where, empty = tmp_path / "backups", settings_of(tmp_path / "empty")
    with pytest.raises(StartupFailed, match="There is no back-up in .*; there is none at all"):
        bring(empty, where, log)
    name = save(filled, where, log).partition(":")[0]
    with pytest.raises(StartupFailed, match=f"There is no back-up other in .*; the newest are {name}"):
        bring(empty, where, log, "other")
    network = objects(filled)["models/colours/2/model.onnx"]
    blob = where / "blobs" / hashlib.sha256(network).hexdigest()
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + b"?")
    with pytest.raises(StartupFailed, match=f"The back-up is damaged: blobs/{blob.name} in .* was changed"):
        bring(empty, where, log)
    blob.unlink()
    with pytest.raises(StartupFailed, match=f"blobs/{blob.name} is missing from"):
        bring(empty, where, log)
    assert models_of(empty).names() == []
    assert jobs(empty, log) == []
    assert "; 0 were not in" not in save(filled, where, log)  # a later back-up mends it
    bring(empty, where, log, name)  # over what the attempts before have left
    assert objects(empty) == objects(filled)
    assert jobs(empty, log) == jobs(filled, log)
    listed = where / f"backups/{name}.json"
    listed.write_text(listed.read_text()[:-10])
    with pytest.raises(StartupFailed, match=f"The back-up {name} in .* is damaged .*: restore another with --name"):
        bring(settings_of(tmp_path / "other"), where, log, name)


def test_nothing_is_overwritten(filled: Settings, tmp_path: Path, log: Log) -> None:
    where = tmp_path / "backups"
    save(filled, where, log)
    other = settings_of(tmp_path / "other")
    store = stores_of(other)["models"]
    store.write("colours/config.pbtxt", b"mine")
    with pytest.raises(StartupFailed, match=r"There is another 'colours/config\.pbtxt' where the back-up's is to go"):
        bring(other, where, log)
    store.write("mine/1/claim", b"job")
    with pytest.raises(StartupFailed, match=r"There are 1 other objects, such as 'mine/1/claim', where the models of the back-up"):
        bring(other, where, log)
    (tmp_path / "busy").mkdir()
    busy = settings_of(tmp_path / "busy")
    jobs(busy, log, more=1)
    with pytest.raises(StartupFailed, match="The job database has 1 jobs already: restore into an empty one"):
        bring(busy, where, log)
    assert objects(busy) == {}


def test_a_restoration_that_is_cut_short_goes_on(
    filled: Settings, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(filled, tmp_path / "backups", log)
    copy, write_file, left = settings_of(tmp_path / "copy"), LocalStore.write_file, [0]

    def failing(store: LocalStore, key: str, path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StorageFailed("No space left on device.")
        write_file(store, key, path)

    monkeypatch.setattr(LocalStore, "write_file", failing)
    for count in (0, 3, 12):
        left[0] = count
        with pytest.raises(StorageFailed, match="No space left"):
            bring(copy, tmp_path / "backups", log)
        assert jobs(copy, log) == []
    left[0] = 1000
    bring(copy, tmp_path / "backups", log)
    assert (objects(copy), jobs(copy, log)) == (objects(filled), jobs(filled, log))


def test_the_commands(filled: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = str(tmp_path / "backups")
    assert main(["backup", where, "--data-dir", str(filled.data_dir)]) == 0
    assert main(["restore", where, "--data-dir", str(tmp_path / "copy")]) == 0
    assert capsys.readouterr().out.endswith("3 jobs are restored\n")
    assert main(["restore", where, "--data-dir", str(tmp_path / "copy")]) == 1
    assert "eyasd: The job database has 3 jobs already" in capsys.readouterr().err
    assert main(["backup", "ftp://host/backups"]) == 1
    assert "eyasd: 'ftp://host/backups' is no address of a store" in capsys.readouterr().err
    server = settings_of(tmp_path / "server")  # where there never was a job
    assert main(["backup", where, "--data-dir", str(server.data_dir)]) == 0
    assert main(["restore", where, "--data-dir", str(server.data_dir)]) == 0
    assert capsys.readouterr().out.endswith("0 objects of 0.0 MB, 0 jobs are restored\n")
