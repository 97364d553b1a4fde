"""A dataset in a bucket is the dataset that it would be on a disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from archives import tarred, zipped
from buckets import FakeBucket
from eyasd.core.errors import BadDataset, DatasetNotFound, InvalidArgument
from eyasd.core.tasks import SharedCache, Sources
from eyasd.training.data import fetched, remote
from eyasd.training.data.cache import _read, digest
from eyasd.training.data.content import content_of
from eyasd.training.data.dataset import discard, open_dataset
from eyasd.training.data.listing import Listing, list_files
from eyasd.training.journal import EVALUATION_SHARES, Journal, with_fetching

ALL = ("train", "validation", "test")
Opened = Callable[[str], Listing]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> FakeBucket:
    made = FakeBucket({})
    monkeypatch.setattr(remote, "open_bucket", lambda url: made)
    return made


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(fetched=SharedCache(str(tmp_path / "fetched"), 10**9))


@pytest.fixture
def opened(job_dir: Path, sources: Sources) -> Opened:
    journal = Journal(job_dir / "progress.jsonl", with_fetching(EVALUATION_SHARES, "s3://photos"))
    return lambda name: open_dataset(name, job_dir, journal, sources)


def uploaded(root: Path, prefix: str = "") -> dict[str, bytes]:
    return {prefix + path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def facts(listing: Listing) -> list[tuple[str, str, str | None, bytes]]:
    return [(file.name, file.label, file.split, content_of(file, 10**6)) for file in listing.files]


@pytest.mark.parametrize("splits", [("",), ALL, ("train",)])
@pytest.mark.parametrize("prefix", ["", "team/photos/"])
def test_a_folder(
    squares: Callable[..., Path], bucket: FakeBucket, opened: Opened, splits: tuple[str, ...], prefix: str, job_dir: Path
) -> None:
    root = squares({"red": 3, "blue": 2}, splits=splits)
    (root / ".hidden").write_bytes(b"x")
    (root / "notes.txt").write_bytes(b"x")
    bucket.contents = {**uploaded(root, prefix), "team/photographs/red/x.png": b"not of it" if prefix else b""}
    if not prefix:
        del bucket.contents["team/photographs/red/x.png"]
    listing = opened(f"s3://photos/{prefix}")
    assert (facts(listing), listing.splits) == (facts(list_files(root)), list_files(root).splits)
    assert set(bucket.asked) == {prefix + file.name for file in listing.files}  # nothing else is fetched
    lines = map(json.loads, (job_dir / "progress.jsonl").read_text().splitlines())
    stages = [line["progress"]["stage"] for line in lines if line.get("progress")]
    assert list(dict.fromkeys(stages)) == ["fetch", "audit"]


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar"])
def test_an_archive(squares: Callable[..., Path], bucket: FakeBucket, opened: Opened, name: str, job_dir: Path) -> None:
    root = squares({"red": 3, "blue": 2}, splits=ALL)
    bucket.contents = {f"x/{name}": (zipped if name.endswith("zip") else tarred)(uploaded(root))}
    assert facts(opened(f"s3://photos/x/{name}")) == facts(list_files(root))


@pytest.mark.parametrize("dataset", ["s3://photos/x", "s3://photos/x/s-{0..1}.tar", "s3://photos/x/list.csv"])
def test_shards(squares: Callable[..., Path], bucket: FakeBucket, opened: Opened, dataset: str) -> None:
    root = squares({"red": 3, "blue": 2})
    shards: list[dict[str, bytes]] = [{}, {}]
    for number, file in enumerate(list_files(root).files):
        shards[number % 2] |= {file.name: file.path.read_bytes(), file.name.replace(".png", ".cls"): file.label.encode()}
    bucket.contents = {f"x/s-{number}.tar": tarred(shard) for number, shard in enumerate(shards)}
    if dataset.endswith("csv"):
        bucket.contents |= {"x/list.csv": b"shard\ns-{0..1}.tar\n"}
    assert facts(opened(dataset)) == facts(list_files(root))


@pytest.mark.parametrize("dataset", ["s3://photos/x/s-{0..1}.tar", "s3://photos/x/list.csv", "s3://photos/x"])
def test_a_shard_that_is_missing(bucket: FakeBucket, opened: Opened, dataset: str) -> None:
    bucket.contents = {"x/s-0.tar": tarred({"1.jpg": b"x", "1.cls": b"a"}), "x/list.csv": b"shard\ns-{0..1}.tar\n"}
    with pytest.raises(BadDataset, match="There is no 's-1.tar' in s3://photos/x.*: check the range, or the manifest"):
        opened(dataset)


class TestManifests:
    @pytest.mark.parametrize("dataset", ["s3://photos/x/photos.csv", "s3://photos/x"])
    @pytest.mark.parametrize("folder", ["images/", "", "a/b/"])
    def test_names_are_relative_to_it(self, bucket: FakeBucket, opened: Opened, dataset: str, folder: str) -> None:
        bucket.contents = {f"x/{folder}{name}.png": name.encode() for name in "abc"} | {"y/other.png": b"x"}
        rows = "".join(f"{folder}{name}.png,{name}\n" for name in "ab")
        bucket.contents["x/photos.csv"] = f"path,label\n{rows}gone.png,a\n".encode()
        listing = opened(dataset)
        names = [f"{folder}a.png", f"{folder}b.png", "gone.png"]
        assert [file.name for file in listing.files] == sorted(names)
        assert sorted(_read(file)[1] for file in listing.files) == [b"", b"a", b"b"]
        assert "No such file" in next(_read(file)[0].problem for file in listing.files if file.name == "gone.png")
        assert f"x/{folder}c.png" not in bucket.asked

    @pytest.mark.parametrize("path", ["../y/other.png", "/etc/passwd"])
    def test_it_reaches_nothing_outside(self, bucket: FakeBucket, opened: Opened, path: str) -> None:
        bucket.contents = {"x/photos.csv": f"path,label\n{path},a\n".encode(), "y/other.png": b"x"}
        with pytest.raises(BadDataset, match="Line 2 of 'photos.csv' names .* which leaves the dataset"):
            opened("s3://photos/x/photos.csv")

    def test_one_that_names_nothing_that_is_there(self, bucket: FakeBucket, opened: Opened) -> None:
        bucket.contents = {"x/photos.csv": b"path,label\na.png,a\n"}
        with pytest.raises(BadDataset, match=r"None of the 1 files that .*/x/photos\.csv names is there, such as 'a\.png'"):
            opened("s3://photos/x/photos.csv")


@pytest.mark.parametrize(
    "name", ["s3://photos/nothing", "s3://photos", "s3://photos/a.zip", "s3://photos/a.csv", "s3://photos/a{0..9}.tar"]
)
def test_a_prefix_with_nothing(bucket: FakeBucket, opened: Opened, name: str) -> None:
    bucket.contents = {} if name == "s3://photos" else {"nothing/": b"", "nothings/x": b"x"}
    with pytest.raises(DatasetNotFound, match="There is nothing at 's3://photos.*' that the trainer can see"):
        opened(name)


@pytest.mark.parametrize("name", ["red//1.png", "red/../1.png", "./red/1.png", "/".join("x" * 40) + "/1.png"])
def test_a_key_that_no_file_could_have(bucket: FakeBucket, opened: Opened, name: str) -> None:
    bucket.contents = {f"x/{name}": b"x", "x/red/0.png": b"x"}
    with pytest.raises(BadDataset, match="which is no name for a file in a folder: rename it"):
        opened("s3://photos/x")


def test_a_key_that_is_a_file_and_a_folder(bucket: FakeBucket, opened: Opened) -> None:
    bucket.contents = {"x/red": b"x", "x/red/0.png": b"x", "x/blue/0.png": b"x"}
    with pytest.raises(BadDataset, match="The dataset holds 'red' twice, as a file and as a folder: rename one"):
        opened("s3://photos/x")


def test_odd_names_are_names(bucket: FakeBucket, opened: Opened) -> None:
    names = ["größe 1/a #?%25&+.png", "größe 1/\N{RIGHT-TO-LEFT OVERRIDE}.png", "b\\c/\t.png", "'; DROP/--.png"]
    bucket.contents = {f"x/{name}": name.encode() for name in names}
    listing = opened("s3://photos/x")
    assert {file.name: content_of(file, 999) for file in listing.files} == {name: name.encode() for name in names}


def test_outside_of_the_roots_nothing_is_asked(bucket: FakeBucket, job_dir: Path, journal: Journal) -> None:
    bucket.contents = {"x/red/0.png": b"x"}
    with pytest.raises(InvalidArgument, match="outside of what this trainer may read"):
        open_dataset("s3://photos/x", job_dir, journal, Sources(("s3://photos/y", "/x")))
    assert bucket.reads == []


class TestCache:
    def test_a_second_job_fetches_nothing(
        self, squares: Callable[..., Path], bucket: FakeBucket, opened: Opened, sources: Sources, tmp_path: Path
    ) -> None:
        bucket.contents = uploaded(squares({"red": 3, "blue": 2}))
        first = opened("s3://photos")
        bucket.reads.clear()
        other = tmp_path / "other"
        other.mkdir()
        journal = Journal(other / "progress.jsonl", with_fetching(EVALUATION_SHARES, "s3://photos"))
        assert facts(open_dataset("s3://photos", other, journal, sources)) == facts(first)
        assert bucket.reads == []

    def test_a_damaged_copy_is_told_of(
        self, squares: Callable[..., Path], bucket: FakeBucket, opened: Opened, tmp_path: Path
    ) -> None:
        bucket.contents = uploaded(squares({"red": 3, "blue": 2}))
        listing = opened("s3://photos")
        (pack,) = (tmp_path / "fetched").glob("*.pack")
        pack.write_bytes(bytes(pack.stat().st_size))
        with pytest.raises(
            Exception, match="What was fetched of 'blue/.*png' is damaged on the trainer's disk: empty training.fetched"
        ):
            digest(listing.files[0])

    def test_it_is_let_go_of(
        self, squares: Callable[..., Path], bucket: FakeBucket, opened: Opened, sources: Sources, job_dir: Path
    ) -> None:
        bucket.contents = {"x/photos.zip": zipped(uploaded(squares({"red": 3, "blue": 2})))}
        opened("s3://photos/x/photos.zip")
        cache = fetched.cache_of(sources.fetched, job_dir)  # type: ignore[arg-type]
        assert cache._index._base.execute("SELECT count(*) FROM uses").fetchone() == (1,)
        discard(job_dir, sources)
        assert cache._index._base.execute("SELECT count(*) FROM uses").fetchone() == (0,)
        assert [path.name for path in job_dir.iterdir()] == ["progress.jsonl"]

    def test_without_a_shared_one_the_job_has_its_own(
        self, squares: Callable[..., Path], bucket: FakeBucket, job_dir: Path
    ) -> None:
        root = squares({"red": 3, "blue": 2})
        bucket.contents = uploaded(root)
        journal = Journal(job_dir / "progress.jsonl", with_fetching(EVALUATION_SHARES, "s3://photos"))
        assert facts(open_dataset("s3://photos", job_dir, journal, Sources())) == facts(list_files(root))
        discard(job_dir, Sources())
        assert [path.name for path in job_dir.iterdir()] == ["progress.jsonl"]
