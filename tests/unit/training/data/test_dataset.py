"""Whatever form a dataset has, the same pictures give the same listing."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from eyasd.core.errors import BadDataset, DatasetNotFound, InvalidArgument
from eyasd.core.tasks import Sources
from eyasd.training.data.cache import _read
from eyasd.training.data.content import content_of
from eyasd.training.data.dataset import open_dataset
from eyasd.training.data.listing import Listing, list_files
from eyasd.training.journal import Journal

Opened = Callable[[Path], Listing]
ALL = ("train", "validation", "test")


@pytest.fixture
def opened(tmp_path: Path, journal: Journal) -> Opened:
    return lambda path: open_dataset(str(path), tmp_path, journal, Sources())


def facts(listing: Listing) -> list[tuple[str, str, str | None, bytes]]:
    return [(file.name, file.label, file.split, file.path.read_bytes()) for file in listing.files]


def packed(root: Path, form: str, top: Path) -> Path:
    """Packs a folder, with paths relative to `top`."""
    return Path(shutil.make_archive(str(root.parent / f"packed-{form}"), form, top, root.relative_to(top)))


@pytest.mark.parametrize("splits", [("",), ALL, ("train",), ("test",)])
@pytest.mark.parametrize("form", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_an_archive_is_the_folder_that_was_packed(
    squares: Callable[..., Path], opened: Opened, splits: tuple[str, ...], form: str
) -> None:
    root = squares({"red": 2, "blue": 2}, splits=splits)
    expected = list_files(root)
    for top in (root, root.parent, root.parent.parent):
        listing = opened(packed(root, form, top))
        assert facts(listing) == facts(expected)
        assert (listing.splits, listing.warnings) == (expected.splits, ())


def test_a_folder_is_listed_as_ever(squares: Callable[..., Path], opened: Opened) -> None:
    root = squares({"red": 3, "blue": 3}, splits=ALL)
    assert opened(root) == list_files(root)


def test_an_archive_of_one_label_keeps_it(squares: Callable[..., Path], opened: Opened) -> None:
    root = squares({"red": 2})
    assert {file.label for file in opened(packed(root, "zip", root)).files} == {"red"}


def test_a_note_beside_the_top_folder_changes_nothing(squares: Callable[..., Path], opened: Opened) -> None:
    root = squares({"red": 2, "blue": 2}, name="bundle/photos")
    (root.parent / "README.txt").touch()
    assert facts(opened(packed(root.parent, "tar", root.parent))) == facts(list_files(root))


class TestManifests:
    @pytest.fixture
    def images(self, squares: Callable[..., Path]) -> Path:
        """A folder with images/1.png ... and photos.csv beside it, which makes two labels of them."""
        root = squares({"images": 4})
        names = sorted(path.name for path in (root / "images").iterdir())
        rows = [f"images/{name},{label}" for name, label in zip(names, ("red", "red", "blue", "blue"), strict=True)]
        (root / "photos.csv").write_text("\n".join(["path,label", *rows]))
        return root

    def test_by_its_own_name(self, images: Path, opened: Opened) -> None:
        assert sorted(file.label for file in opened(images / "photos.csv").files) == ["blue", "blue", "red", "red"]

    def test_by_the_folder_where_it_is_alone(self, images: Path, opened: Opened) -> None:
        assert opened(images) == opened(images / "photos.csv")

    def test_beside_its_pictures(self, images: Path, opened: Opened) -> None:
        for path in (images / "images").iterdir():
            path.rename(images / path.name)
        (images / "images").rmdir()
        table = (images / "photos.csv").read_text().replace("images/", "")
        (images / "photos.csv").write_text(table)
        assert len(opened(images).files) == 4

    @pytest.mark.parametrize("form", ["zip", "gztar"])
    def test_in_an_archive(self, images: Path, opened: Opened, form: str) -> None:
        for top in (images, images.parent):
            assert facts(opened(packed(images, form, top))) == facts(opened(images))

    @pytest.mark.parametrize("path", ["../outside.png", "{outside}"])
    def test_from_an_archive_it_reaches_nothing_outside(self, images: Path, opened: Opened, path: str, tmp_path: Path) -> None:
        outside = tmp_path / "outside.png"
        outside.touch()
        with (images / "photos.csv").open("a") as table:
            table.write("\n" + path.format(outside=outside) + ",red\n")
        with pytest.raises(BadDataset, match="Line 6 of 'photos.csv' names .* which leaves the dataset"):
            opened(packed(images, "zip", images))
        assert len(opened(images).files) == 5

    def test_two_of_them_need_a_word(self, images: Path, opened: Opened) -> None:
        shutil.copy(images / "photos.csv", images / "more.jsonl")
        with pytest.raises(BadDataset, match="holds 2 manifests, 'more.jsonl', 'photos.csv': name one, or leave one"):
            opened(images)

    @pytest.mark.parametrize("splits", [("",), ALL, ("train",)])
    def test_class_folders_win_and_the_table_is_named(
        self, squares: Callable[..., Path], opened: Opened, splits: tuple[str, ...]
    ) -> None:
        root = squares({"red": 2, "blue": 2}, splits=splits)
        before = list_files(root)
        (root / "notes.csv").write_text("a,b\n")
        listing = opened(root)
        assert (listing.files, listing.splits) == (before.files, before.splits)
        (warning,) = listing.warnings
        assert warning.startswith("Left out 'notes.csv', beside class folders")


class TestRefusals:
    def test_nothing_there(self, tmp_path: Path, opened: Opened) -> None:
        with pytest.raises(DatasetNotFound, match="no folder"):
            opened(tmp_path / "absent")

    def test_any_other_file(self, tmp_path: Path, opened: Opened) -> None:
        (tmp_path / "photos.rar").touch()
        with pytest.raises(InvalidArgument, match="photos.rar' is neither a folder, nor a manifest"):
            opened(tmp_path / "photos.rar")

    def test_an_archive_of_nothing(self, tmp_path: Path, opened: Opened) -> None:
        with tarfile.open(tmp_path / "photos.tar", "w"):
            assert not (tmp_path / "unpacked").exists()
        with pytest.raises(BadDataset, match="holds no files"):
            opened(tmp_path / "photos.tar")


class TestRoots:
    """Datasets lie below a root, wherever links lead."""

    @pytest.fixture
    def confined(self, tmp_path: Path, journal: Journal) -> Opened:
        return lambda path: open_dataset(str(path), tmp_path, journal, Sources((str(tmp_path / "root"),)))

    def test_below_a_root_all_is_as_ever(self, squares: Callable[..., Path], opened: Opened, confined: Opened) -> None:
        root = squares(splits=ALL, name="root/data")
        assert facts(confined(root)) == facts(opened(root))
        assert read_all(confined(root)) == read_all(opened(root))

    @pytest.mark.parametrize("suffix", ["", "/a.zip", "/a.csv", "/a-{0..1}.tar"])
    def test_outside_nothing_is_opened(self, tmp_path: Path, confined: Opened, suffix: str) -> None:
        with pytest.raises(InvalidArgument, match="outside of what this trainer may read"):
            confined(tmp_path / f"elsewhere{suffix}")

    def test_a_picture_that_is_a_link_out_of_it_is_unreadable(self, squares: Callable[..., Path], confined: Opened) -> None:
        root, outside = squares(name="root/data"), squares({"red": 1}, name="outside") / "red" / "001.png"
        (root / "red" / "out.png").symlink_to(outside)
        (root / "red" / "within.png").symlink_to(root / "blue" / "025.png")
        problems = {file.name: entry.problem for file, (entry, _) in ((f, _read(f)) for f in confined(root).files)}
        assert problems.pop("red/out.png") == "The file cannot be read: it leads out of what this trainer may read."
        assert "red/within.png" in problems
        assert set(problems.values()) == {""}

    def test_a_folder_that_is_a_link_out_of_it_is_refused(self, squares: Callable[..., Path], confined: Opened) -> None:
        root, outside = squares(name="root/data"), squares({"red": 1}, name="outside")
        (root / "more").symlink_to(outside / "red")
        with pytest.raises(BadDataset, match="The folder 'more' is a link out of what this trainer may read"):
            confined(root)

    def test_a_manifest_names_nothing_outside(self, squares: Callable[..., Path], confined: Opened) -> None:
        root, outside = squares(name="root/data"), squares({"red": 1}, name="outside") / "red" / "001.png"
        (root / "photos.csv").write_text(f"path,label\nred/001.png,a\n{outside},b\n../../outside/red/001.png,b\n")
        problems = [entry.problem for entry, _ in map(_read, confined(root / "photos.csv").files)]
        assert min(problems) == ""
        assert all("leads out of what this trainer may read" in problem for problem in sorted(problems)[1:])

    def test_a_manifest_that_is_a_link_out_of_it(self, squares: Callable[..., Path], confined: Opened, tmp_path: Path) -> None:
        root = squares({"red": 1}, name="root/data")
        (tmp_path / "photos.csv").write_text("path,label\nred/001.png,a\n")
        (root / "photos.csv").symlink_to(tmp_path / "photos.csv")
        with pytest.raises(BadDataset, match="The manifest 'photos.csv' is a link out of what this trainer may read"):
            confined(root)


def test_a_name_with_file_in_front_is_the_path(squares: Callable[..., Path], tmp_path: Path, journal: Journal) -> None:
    root = squares(name="my data")
    listing = open_dataset(f"file://{tmp_path}/my%20data", tmp_path, journal, Sources())
    assert listing == list_files(root)


def read_all(listing: Listing) -> list[bytes]:
    return [content_of(file, 10**6) for file in listing.files]
