"""A dataset that was uploaded is listed as the folder or archive that it was, with its files where they are kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eyasd.core import document, jobdir
from eyasd.core.errors import BadDataset
from eyasd.core.names import DatasetRef
from eyasd.core.tasks import Sources
from eyasd.registry.datasets import Datasets
from eyasd.training.data.dataset import open_dataset
from eyasd.training.data.listing import Listing, list_files
from eyasd.training.journal import Journal
from uploads import blob, open_uploads, upload

Opened = Callable[[dict[str, bytes]], Listing]


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return open_uploads(tmp_path)


@pytest.fixture
def job_dir(tmp_path: Path) -> Path:
    (tmp_path / "job").mkdir()
    return tmp_path / "job"


@pytest.fixture
def opened(datasets: Datasets, job_dir: Path, journal: Journal) -> Opened:
    """Uploads files, and lists them as a job does."""

    def run(files: dict[str, bytes]) -> Listing:
        record = upload(datasets, "photos", files)
        located = datasets.locate(DatasetRef("photos", record.version))
        (job_dir / jobdir.UPLOADED).write_text(document.dump(located))
        return open_dataset("datasets/photos", job_dir, journal, Sources())

    return run


def facts(listing: Listing) -> list[tuple[str, str, str | None, bytes]]:
    return [(file.name, file.label, file.split, file.path.read_bytes()) for file in listing.files]


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("splits", [("",), ("train", "test")])
def test_a_folder(squares: Callable[..., Path], opened: Opened, datasets: Datasets, splits: tuple[str, ...]) -> None:
    root = squares({"red": 3, "blue": 3}, splits=splits)
    listing = opened(files_of(root))
    assert facts(listing) == facts(list_files(root))
    store = Path(datasets.blobs.store.address)
    assert all(file.path.is_relative_to(store) for file in listing.files)
    assert facts(opened(files_of(root))) == facts(listing)  # as in a second attempt


def test_a_manifest_with_its_pictures_and_nothing_else(squares: Callable[..., Path], opened: Opened) -> None:
    files = files_of(squares({"red": 2, "blue": 2}))
    rows = "".join(f"{path},{path.split('/')[0]}\n" for path in files)
    packed = {f"images/{path}": content for path, content in files.items()}
    listing = opened(packed | {"photos.csv": f"path,label\n{rows}".replace("\n", "\nimages/").removesuffix("images/").encode()})
    assert [label for _, label, _, _ in facts(listing)] == ["blue", "blue", "red", "red"]
    with pytest.raises(BadDataset, match="etc/passwd"):
        opened(packed | {"photos.csv": b"path,label\n/etc/passwd,red\n"})


def test_an_archive(squares: Callable[..., Path], opened: Opened) -> None:
    root = squares({"red": 2, "blue": 2})
    archive = Path(shutil.make_archive(str(root.parent / "packed"), "zip", root))
    assert facts(opened({"photos.zip": archive.read_bytes()})) == facts(list_files(root))


def test_what_is_lost_is_told_of(opened: Opened, datasets: Datasets, job_dir: Path, journal: Journal) -> None:
    opened({"red/1.jpg": b"1", "blue/1.jpg": b"2"})
    datasets.blobs.store.delete(blob(b"1").key)
    with pytest.raises(BadDataset, match="content of 'red/1.jpg'"):
        open_dataset("", job_dir, journal, Sources())
    datasets.blobs.store.delete(datasets.get(DatasetRef("photos")).manifest.key)
    with pytest.raises(BadDataset, match="not there any more"):
        open_dataset("", job_dir, journal, Sources())
