"""JOB_DIR of a job whose pods share no folder with their trainer: through a store to each attempt, and back from it.

Every step can be repeated, by whichever trainer has the job then: what no list names is not there, see `pod.layout`. Blocking.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from eyasd.core import document, jobdir
from eyasd.core.datasets import UploadedDataset
from eyasd.core.errors import InvalidArgument, StorageFailed
from eyasd.core.jobdir import Unreported
from eyasd.core.jobs import Job
from eyasd.core.names import names_upload
from eyasd.core.places import is_remote, place_of
from eyasd.jobs.words import last_line
from eyasd.pod import layout
from eyasd.registry.datasets import Datasets
from eyasd.storage.store import Store

_TOLD: Final = (jobdir.TRAINING, jobdir.EVALUATION, jobdir.INSPECTION, jobdir.UPLOADED)
_CONTENT: Final = "content"  # of an uploaded dataset


class Exchange:
    """Gives attempts what their programs are told, takes what they leave, and deletes both when their job has ended."""

    def __init__(self, store: Store, mounted: Sequence[str]) -> None:
        """Begins with what is in the store.

        Args:
            store: that pods reach, too.
            mounted: absolute paths of folders that pods see as the trainer does.
        """
        self._store, self._mounted = store, mounted

    def give(self, job: Job, job_dir: Path, datasets: Datasets) -> None:
        """Hands a folder that was prepared to the job's attempt, whole or not at all; once it is, it stays as it is.

        Raises:
            InvalidArgument: the job's dataset is in a folder that pods do not see.
            StorageFailed: the store cannot be used, or the folder cannot be read.
        """
        if not names_upload(job.dataset):
            self._check(job.dataset)
        place = layout.place(job.id, job.attempt, "in")
        if layout.paths(self._store, place):
            return
        try:
            if names_upload(job.dataset):
                _lay_content(job_dir, datasets)
            layout.send(self._store, place, job_dir, _inputs(job_dir))
            shutil.rmtree(job_dir / _CONTENT, ignore_errors=True)
        except OSError as error:
            raise StorageFailed(f"The job's folder could not be read: {error.strerror}. Mend the disk, then try again.") from error

    def take(self, job: str, attempt: int, job_dir: Path) -> Unreported | None:
        """Brings into a folder what was handed over by the attempt, and by no other; nothing if it has left nothing that is whole.

        Returns:
            Lines that its pod could tell nobody; None as mostly.

        Raises:
            StorageFailed: the store cannot be used, or the folder cannot be written.
        """
        unreported = job_dir / jobdir.UNREPORTED
        try:
            log = job_dir / jobdir.LOG
            unreported.unlink(missing_ok=True)
            said = last_line(log)  # of the pods, which says best why they ended
            layout.receive_newest(self._store, layout.place(job, attempt, "out"), job_dir)
            if said and last_line(log) != said:
                with log.open("a") as file:
                    file.write(f"\n{said}\n")
            return document.load(Unreported, unreported.read_text()) if unreported.exists() else None
        except OSError as error:
            raise StorageFailed(
                f"The job's folder could not be written: {error.strerror}. Free the disk, then try again."
            ) from error

    def forget(self, job: str) -> None:
        """Deletes all that was handed over for a job, or by it. Raises StorageFailed."""
        for key in self._store.keys(f"jobs/{job}"):
            self._store.delete(key)

    def jobs(self) -> list[str]:
        """Returns the jobs that something is kept of. Raises StorageFailed."""
        return [job for job in self._store.children("jobs") if self._store.keys(f"jobs/{job}")]  # a folder may be left empty

    def _check(self, dataset: str) -> None:
        place = place_of(dataset)
        if not place.remote and not any(Path(place.path).is_relative_to(folder) for folder in self._mounted):
            raise InvalidArgument(
                "dataset",
                f"{dataset!r} is on the trainer's machine, which the pods that train do not see: upload it, put it into an object "
                "store, or name the claim of the volume that holds it in kubernetes.volumes.",
            )


def _inputs(job_dir: Path) -> Iterator[Path]:
    """Yields the files that the program of an attempt is told by."""
    yield from (path for name in _TOLD if (path := job_dir / name).exists())
    folders = [jobdir.BASE, jobdir.CAPTURED, jobdir.OTHERS, _CONTENT]
    if (job_dir / jobdir.EVALUATION).exists():  # of a training it is what an attempt has made
        folders.append(jobdir.BUNDLE)
    for folder in folders:
        yield from (path for path in (job_dir / folder).rglob("*") if path.is_file())


def _lay_content(job_dir: Path, datasets: Datasets) -> None:
    """Has the content of an uploaded dataset in the folder, as names that lead to where it is kept, unless that is a bucket."""
    told = job_dir / jobdir.UPLOADED
    uploaded = document.load(UploadedDataset, told.read_text())
    if uploaded.store == _CONTENT or is_remote(uploaded.store):  # an earlier try has come so far; or pods fetch it themselves
        return
    blobs = {uploaded.manifest.key, *(file.blob.key for file in datasets.files(uploaded.manifest))}
    for key in blobs:
        name = job_dir / _CONTENT / key
        name.parent.mkdir(parents=True, exist_ok=True)
        name.unlink(missing_ok=True)
        name.symlink_to(Path(uploaded.store) / key)
    told.write_text(document.dump(UploadedDataset(_CONTENT, uploaded.manifest)))
