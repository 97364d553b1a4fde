"""jobs.exchange: what goes to pods that share no folder with their trainer, and comes back, whole and from the right attempt."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eyasd.core import document, jobdir
from eyasd.core.datasets import UploadedDataset, read_manifest
from eyasd.core.errors import InvalidArgument, StorageFailed
from eyasd.core.jobs import Job, JobType
from eyasd.core.names import DatasetRef
from eyasd.core.spec import TrainSpec
from eyasd.jobs.exchange import Exchange
from eyasd.pod import layout
from eyasd.storage.address import open_store
from eyasd.storage.local import LocalStore
from eyasd.storage.store import Store
from uploads import blob, open_uploads, upload

JOB = Job(
    id="j1", type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="s3://photos/x", spec=TrainSpec(), attempt=1
)


class Frail(LocalStore):
    """A store that is away after so many changes, for one."""

    left = 10**9

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.left = 10**9
            raise StorageFailed("The store is away.")

    def write(self, key: str, content: bytes) -> None:
        self._count()
        super().write(key, content)

    def write_file(self, key: str, path: Path) -> None:
        self._count()
        super().write_file(key, path)


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return LocalStore(tmp_path / "store") if request.param == "folder" else open_store("memory://", tmp_path)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """JOB_DIR as `folder.prepare` and an earlier attempt leave it."""
    folder = tmp_path / "job"
    for name in (jobdir.TRAINING, f"{jobdir.BASE}/weights", f"{jobdir.BUNDLE}/model.onnx", jobdir.PROGRESS, jobdir.LOG, "cache/1"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name}\n")
    return folder


def found(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def at_pod(store: Store, tmp_path: Path, attempt: int = 1) -> set[str]:
    """Returns what a pod of an attempt gets."""
    scratch = tmp_path / f"pod-{attempt}"
    layout.receive(store, layout.place("j1", attempt, "in"), scratch)
    return found(scratch)


def leave(store: Store, tmp_path: Path, text: str, *, attempt: int = 1, number: int = 1) -> None:
    """Leaves what a pod does that has trained."""
    made = tmp_path / f"made-{attempt}-{number}"
    (made / jobdir.BUNDLE).mkdir(parents=True)
    for name in (jobdir.RESULT, f"{jobdir.BUNDLE}/manifest.json", jobdir.LOG):
        (made / name).write_text(text)
    layout.send(store, f"{layout.place('j1', attempt, 'out')}/{number}", made, [made / name for name in found(made)])


def test_a_pod_gets_what_its_program_is_told_and_nothing_else(store: Store, prepared: Path, tmp_path: Path) -> None:
    exchange = Exchange(store, ())
    (prepared / jobdir.CAPTURED).mkdir()
    (prepared / jobdir.CAPTURED / jobdir.CAPTURED_LIST).write_text("{}")
    exchange.give(JOB, prepared, open_uploads(tmp_path))
    captured = f"{jobdir.CAPTURED}/{jobdir.CAPTURED_LIST}"
    assert at_pod(store, tmp_path) == {jobdir.TRAINING, f"{jobdir.BASE}/weights", captured}
    (prepared / jobdir.TRAINING).rename(prepared / jobdir.EVALUATION)
    exchange.give(replace(JOB, attempt=2), prepared, open_uploads(tmp_path))
    assert at_pod(store, tmp_path, 2) == {jobdir.EVALUATION, f"{jobdir.BASE}/weights", captured, f"{jobdir.BUNDLE}/model.onnx"}


def test_it_is_whole_or_not_there_whenever_the_trainer_dies_and_then_stays_as_it_is(prepared: Path, tmp_path: Path) -> None:
    for steps in range(3):
        store = Frail(tmp_path / f"store-{steps}")
        store.left = steps
        with pytest.raises(StorageFailed, match="away"):
            Exchange(store, ()).give(JOB, prepared, open_uploads(tmp_path))
        assert at_pod(store, tmp_path / str(steps)) == set()
        (prepared / jobdir.TRAINING).write_text(f"try {steps}")
        Exchange(store, ()).give(JOB, prepared, open_uploads(tmp_path))
        (prepared / jobdir.TRAINING).write_text("too late")
        Exchange(store, ()).give(JOB, prepared, open_uploads(tmp_path))
        assert at_pod(store, tmp_path / str(steps)) == {jobdir.TRAINING, f"{jobdir.BASE}/weights"}
        assert (tmp_path / str(steps) / "pod-1" / jobdir.TRAINING).read_text() == f"try {steps}"


def test_the_content_of_an_uploaded_dataset_goes_with_it(store: Store, prepared: Path, tmp_path: Path) -> None:
    datasets = open_uploads(tmp_path)
    upload(datasets, "photos", {"dark/1.png": b"one", "light/1.png": b"two", "light/2.png": b"two"})
    told = datasets.locate(DatasetRef("photos", 1))
    for _ in range(2):
        (prepared / jobdir.UPLOADED).write_text(document.dump(told))
        Exchange(store, ()).give(replace(JOB, dataset="datasets/photos/versions/1"), prepared, datasets)
    at_pod(store, tmp_path)
    scratch = tmp_path / "pod-1"
    uploaded = document.load(UploadedDataset, (scratch / jobdir.UPLOADED).read_text())
    kept = scratch / uploaded.store
    with (kept / uploaded.manifest.key).open("rb") as lines:
        files = {file.path: (kept / file.blob.key).read_bytes() for file in read_manifest(lines)}
    assert files == {"dark/1.png": b"one", "light/1.png": b"two", "light/2.png": b"two"}
    assert not (prepared / "content").exists()


def test_an_upload_in_a_bucket_is_left_to_the_pods(store: Store, prepared: Path, tmp_path: Path) -> None:
    told = UploadedDataset("s3://falcons/models-datasets", blob(b"a list"))
    (prepared / jobdir.UPLOADED).write_text(document.dump(told))
    Exchange(store, ()).give(replace(JOB, dataset="datasets/photos/versions/1"), prepared, open_uploads(tmp_path))
    assert "uploaded.json" in at_pod(store, tmp_path)
    assert document.load(UploadedDataset, (tmp_path / "pod-1" / jobdir.UPLOADED).read_text()) == told


def test_a_dataset_that_pods_do_not_see_is_told_before_they_are_made(store: Store, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"'/photos/x' is on the trainer's machine.* upload it"):
        Exchange(store, ("/photo",)).give(replace(JOB, dataset="/photos/x"), prepared, open_uploads(tmp_path))
    Exchange(store, ("/photos",)).give(replace(JOB, dataset="/photos/x"), prepared, open_uploads(tmp_path))


def test_what_the_last_pod_of_the_attempt_has_left_is_taken_and_that_of_no_other(
    store: Store, prepared: Path, tmp_path: Path
) -> None:
    exchange = Exchange(store, ())
    leave(store, tmp_path, "stale", attempt=1)
    exchange.take("j1", 2, prepared)
    assert not (prepared / jobdir.RESULT).exists()
    for number in (1, 2):
        leave(store, tmp_path, f"pod {number}", attempt=2, number=number)
    for _ in range(2):
        exchange.take("j1", 2, prepared)
    assert (prepared / jobdir.RESULT).read_text() == "pod 2"
    assert (prepared / jobdir.BUNDLE / "manifest.json").read_text() == "pod 2"


def test_what_is_not_whole_is_not_taken(store: Store, prepared: Path, tmp_path: Path) -> None:
    leave(store, tmp_path, "made")
    store.write(f"{layout.place('j1', 1, 'out')}/1/{jobdir.RESULT}", b"fake")
    Exchange(store, ()).take("j1", 1, prepared)
    assert found(prepared) == {jobdir.TRAINING, "base/weights", "bundle/model.onnx", jobdir.PROGRESS, jobdir.LOG, "cache/1"}


def test_the_last_word_is_that_of_who_ended_the_pods(store: Store, prepared: Path, tmp_path: Path) -> None:
    (prepared / jobdir.LOG).write_text("eyas-j1-1-abc:\nmuch more\nValueError: it is so\n")
    leave(store, tmp_path, "much more\nValueError: it is so\nChildFailedError of torchrun\n")
    for _ in range(2):
        Exchange(store, ()).take("j1", 1, prepared)
        assert (prepared / jobdir.LOG).read_text().splitlines()[-3:] == ["ChildFailedError of torchrun", "", "ValueError: it is so"]


def test_a_job_that_is_forgotten_leaves_nothing_and_others_stay(store: Store, prepared: Path, tmp_path: Path) -> None:
    exchange = Exchange(store, ())
    for name in ("j1", "j10"):
        exchange.give(replace(JOB, id=name), prepared, open_uploads(tmp_path))
    leave(store, tmp_path, "made")
    store.write("versions/1", b"of somebody else")
    assert exchange.jobs() == ["j1", "j10"]
    for _ in range(2):
        exchange.forget("j1")
        assert exchange.jobs() == ["j10"]
    assert store.exists("versions/1")
