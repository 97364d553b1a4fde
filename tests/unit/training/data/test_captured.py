"""Captured pictures join a dataset whose splits stay what they were; some are held out, and none is a copy of what is tested on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from builders import scene
from eyasd.core.answers import KeptAnswers, fingerprints
from eyasd.core.errors import BadDataset
from eyasd.core.frozen import FrozenList, FrozenPicture
from eyasd.core.jobdir import CAPTURED_LIST
from eyasd.core.preprocess import Preprocess
from eyasd.training.data.audit import Audit, audit
from eyasd.training.data.cache import Pictures, read_picture
from eyasd.training.data.captured import CAPTURED, Held, with_captured
from eyasd.training.data.listing import Listing, list_files

BEGUN = datetime(2026, 11, 26, tzinfo=UTC)
NONE = np.empty(0, np.int64)
PARTS = ("train", "validation", "test", CAPTURED)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def prints(paths: Sequence[Path]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return fingerprints(map(digest, paths))


def save(path: Path, seed: int, quality: int = 95) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scene(seed).save(path, quality=quality)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """40 pictures of each of two labels, in no split."""
    for label, begin in (("hat", 0), ("shoe", 100)):
        for number in range(40):
            save(tmp_path / "data" / label / f"{number:02}.png", begin + number)
    return tmp_path / "data"


@pytest.fixture
def base(data: Path) -> KeptAnswers:
    """What a version keeps that had every fourth picture for its test, and every fourth for validation."""
    files = sorted(data.glob("*/*"))
    test, validation = prints(files[::4]), prints(files[1::4])
    train = prints([file for number, file in enumerate(files) if number % 4 > 1])
    zeros = np.zeros(len(test))
    return KeptAnswers(test, zeros.astype(np.int32), zeros == 0, zeros.astype(np.float32), train, validation, NONE)


class Catch:
    """A JOB_DIR/captured that is being filled."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.pictures: list[FrozenPicture] = []
        self.removed = 0

    def add(self, seed: int, *labels: str, at: timedelta | None = None, quality: int = 95) -> str:
        """Adds a picture, each an hour after the one before unless it is said otherwise; returns its name."""
        picture = save(self.place / f"{seed}.jpg", seed, quality)
        name = picture.name
        time = BEGUN + (timedelta(hours=len(self.pictures)) if at is None else at)
        self.pictures.append(FrozenPicture(name, labels, time))
        return f"{CAPTURED}/{name}"

    def listed(self, data: Path) -> Listing:
        frozen = FrozenList("clothing", tuple(sorted(self.pictures, key=lambda one: one.id)), self.removed)
        (self.place / CAPTURED_LIST).write_bytes(frozen.to_bytes())
        return with_captured(list_files(data), self.place)


@pytest.fixture
def catch(tmp_path: Path) -> Catch:
    (tmp_path / "captured").mkdir()
    return Catch(tmp_path / "captured")


@pytest.fixture
def judged(data: Path, base: KeptAnswers, catch: Catch) -> Callable[..., tuple[Audit, Mapping[str, str]]]:
    """Audits the dataset with what was captured; returns the audit, and the part of each file by its name."""

    def judge(*, answers: KeptAnswers = base, whole: bool = True, seed: int = 0) -> tuple[Audit, Mapping[str, str]]:
        listing = catch.listed(data)
        read = [read_picture(file, Preprocess(crop_px=32)) for file in listing.files]
        pictures = Pictures(np.stack([image for _, image in read if image is not None]), tuple(entry for entry, _ in read), data)
        held = Held("clothing/3", answers, whole, 0.3)
        found = audit(listing, pictures, {"validation": 0.15, "test": 0.15}, seed, lambda: None, held=held)
        return found, {listing.files[row].name: part for part, rows in found.rows.items() for row in rows}

    return judge


def test_the_splits_of_the_base_stay_what_they_were_and_captured_pictures_are_shared_out(
    judged: Callable[..., tuple[Audit, Mapping[str, str]]], catch: Catch, data: Path, base: KeptAnswers
) -> None:
    for seed in range(1000, 1040):
        catch.add(seed, "hat" if seed % 2 else "shoe")
    found, parts = judged()
    files = sorted(data.glob("*/*"))
    before = {str(file.relative_to(data)): ("test", "validation", "train", "train")[n % 4] for n, file in enumerate(files)}
    assert {name: part for name, part in parts.items() if not name.startswith(CAPTURED)} == before
    shares = Counter((part, name.startswith(CAPTURED)) for name, part in parts.items())
    assert [shares[part, True] for part in PARTS] == [22, 6, 0, 12]
    assert found.captured is not None
    assert found.captured.sum() == 40
    assert not found.leaked.any()
    assert "Of the captured pictures 22 are trained on, 6 are for validation, and 12 are held out." in found.report.warnings
    # Whatever else is captured, what a version was judged by stays held out of the next.
    held_out = {name for name, part in parts.items() if part == CAPTURED}
    for seed in range(1040, 1060):
        catch.add(seed, "hat" if seed % 2 else "shoe")
    kept = replace(base, captured=prints([catch.place / Path(name).name for name in held_out]))
    later = judged(answers=kept)[1]
    assert {later[name] for name in held_out} == {CAPTURED}


def test_a_copy_goes_where_its_original_is_and_one_of_a_test_picture_nowhere(
    judged: Callable[..., tuple[Audit, Mapping[str, str]]], catch: Catch
) -> None:
    for seed in range(1000, 1020):
        catch.add(seed, "hat" if seed % 2 else "shoe")
    copies = [catch.add(seed, "hat", quality=60) for seed in (0, 1, 2)]  # of test, validation and train
    found, parts = judged()
    assert [parts.get(name) for name in copies] == [None, "validation", "train"]
    assert "1 captured picture left out, as copies of test pictures." in found.report.warnings


def test_what_is_captured_at_the_same_time_stays_together(
    judged: Callable[..., tuple[Audit, Mapping[str, str]]], catch: Catch
) -> None:
    names = [catch.add(1000 + n, "hat" if n % 2 else "shoe", at=timedelta(hours=n // 4, seconds=n % 4)) for n in range(120)]
    parts = judged()[1]
    for first in range(0, 120, 4):
        assert len({parts[name] for name in names[first : first + 4]}) == 1
    assert Counter(parts[name] for name in names)[CAPTURED] == pytest.approx(36, abs=8)


def test_where_all_came_at_once_the_shares_are_kept_all_the_same(
    judged: Callable[..., tuple[Audit, Mapping[str, str]]], catch: Catch
) -> None:
    names = [catch.add(1000 + n, "hat" if n % 2 else "shoe", at=timedelta(milliseconds=n)) for n in range(40)]
    assert Counter(judged()[1][name] for name in names) == {"train": 22, "validation": 6, CAPTURED: 12}


def test_a_new_label_is_learnt_from_three_pictures_on(judged: Callable[..., tuple[Audit, Mapping[str, str]]], catch: Catch) -> None:
    for seed in range(1000, 1012):
        catch.add(seed, "scarf")
    for seed in (1020, 1021):
        catch.add(seed, "glove")
    catch.add(1030, "hat", "shoe")
    found, parts = judged()
    assert found.labels == ("hat", "scarf", "shoe")
    assert {part for name, part in parts.items() if name.startswith(CAPTURED)} == {"train", "validation", CAPTURED}
    assert found.report.warnings[:3] == (
        "1 captured picture with none or several labels left out: every picture here has one.",
        "2 captured pictures left out: of a label that the dataset lacks 3 are needed at least, and of 'glove' there are fewer.",
        "Labels that the dataset lacks come from captured pictures alone: 'scarf'.",
    )


def test_a_dataset_without_the_base_s_test_pictures_is_refused(
    judged: Callable[..., tuple[Audit, Mapping[str, str]]], catch: Catch, data: Path
) -> None:
    catch.add(1000, "hat")
    (data / "hat" / "00.png").unlink()
    save(data / "shoe" / "new.png", 7777)
    with pytest.raises(BadDataset, match=r"not what clothing/3 was trained on any more: it lacks 1 of the 20 test pictures"):
        judged()
    found, parts = judged(whole=False)
    assert found.report.warnings[0] == (
        "The dataset lacks 1 of the 20 test pictures of clothing/3; the two are compared on the others."
    )
    assert parts["shoe/new.png"] == "train"
    assert "1 picture of the dataset not among those of clothing/3; none is tested on." in found.report.warnings


def test_a_new_label_that_only_copies_of_test_pictures_bear_is_refused(
    judged: Callable[..., tuple[Audit, Mapping[str, str]]], catch: Catch
) -> None:
    for seed in (100, 104, 108):
        catch.add(seed, "mitten", quality=70)
    with pytest.raises(BadDataset, match="No picture of the label 'mitten' is left to train on: all that are new are copies of"):
        judged()


def test_without_a_picture_to_add_there_is_a_sentence(catch: Catch, data: Path) -> None:
    catch.removed = 2
    catch.add(1000, "scarf")
    with pytest.raises(
        BadDataset, match=r"No captured picture of clothing can be added\. 1 captured picture left out.* 2 captured"
    ):
        catch.listed(data)
