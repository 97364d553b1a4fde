"""A card fails under an engine or a training, is full, or belongs to a program that is killed: nobody else notices for long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import eyas
from builders import COLOURS, picture, write_bundle, write_pictures
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from trainers import TESTS, Trainer
from waits import wait_until

from .conftest import Tell

TINY: dict[str, Any] = {"preset": "balanced", "backbone": "test_resnet", "pretrained": False}
BACK_SECONDS = 15
MIB = 1 << 20


@contextmanager
def started(folder: Path, role: str, **settings: object) -> Iterator[tuple[Trainer, eyas.Client, Path]]:
    """A daemon with the version `colours/1`, its client, and the file that takes a card away, see `card/sitecustomize.py`."""
    put = folder / "put"
    daemon = Trainer(folder / "home", TESTS / "faults" / "card", role=role, EYAS_TEST_PUT=put, **settings)
    models = Models(LocalStore(daemon.data / "models"))
    models.publish("colours", write_bundle(folder / "bundle"), "job1")
    models.aliases.set("colours", "production", 1, actor="test", reason="")
    daemon.start()
    try:
        with daemon.client() as client:
            yield daemon, client, put
    finally:
        daemon.end()


@pytest.mark.parametrize("card", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_an_engine_whose_card_fails_ends_and_the_next_one_answers(card: str, tmp_path: Path, all_faults: bool, tell: Tell) -> None:
    turns, longest = 20 if all_faults or card == "cuda" else 2, 0.0
    with started(tmp_path, "server", SERVING__DEVICE=card, EYAS_TEST_CARD=card) as (daemon, client, put):
        client.classify("colours", picture(), timeout=60)
        for turn in range(turns):
            colour = list(COLOURS)[turn % len(COLOURS)]
            put.write_text("lose")
            begun = time.monotonic()
            assert client.classify("colours", picture(COLOURS[colour]), timeout=60).label == colour
            longest = max(longest, time.monotonic() - begun)
            assert not put.exists()
        log = daemon.log.read_text()
    assert log.count("an engine ended, and is started again") == turns
    assert longest < BACK_SECONDS
    tell(f"a card that fails under an engine ({card}): answered by the next after {longest:.1f} s at most", f"{turns}", "0")


@pytest.mark.gpu
@pytest.mark.parametrize(("what", "told"), [("lose", "CUDA error"), ("kill", "signal 9")])
def test_a_training_whose_card_fails_or_that_is_killed_goes_on_in_a_new_process_and_leaves_no_memory_taken(
    what: str, told: str, tmp_path: Path, tell: Tell
) -> None:
    before, photos = free_bytes(), write_photos(tmp_path / "photos", 40)
    with started(tmp_path, "trainer", EYAS_TEST_CARD="cuda") as (_, client, put):
        put.write_text(what)
        job = client.train(photos, "shades", epochs=4, image_size_px=64, **TINY)
        done = client.wait(job.id)
        assert not put.exists()
        assert (done.state, done.attempt) == (eyas.JobState.SUCCEEDED, 2), done
        said = [event.message or (event.job.waiting_reason if event.job else "") for event in client.watch_job(job.id)]
    assert any(told in line for line in said), said
    assert free_bytes() > before - 64 * MIB
    tell(f"a training on a card, {what}, at a step", "1", "0")


@pytest.mark.gpu
def test_a_training_that_a_full_card_has_no_room_for_is_tried_in_parts_and_says_so(tmp_path: Path, tell: Tell) -> None:
    photos = write_photos(tmp_path / "photos", 200)
    with started(tmp_path, "trainer", EYAS_TEST_CARD="cuda") as (_, client, _), filled(2048 * MIB):
        job = client.train(photos, "shades", epochs=2, image_size_px=224, batch_size=512, **TINY)
        with pytest.raises(eyas.JobFailed, match="The GPU ran out of memory; choose a smaller batch_size"):
            client.wait(job.id)
        said = [event.job.waiting_reason if event.job else "" for event in client.watch_job(job.id)]
    assert any("It is tried again with each batch in 2 parts." in line for line in said), said
    tell("a training on a card that another program has filled but for 2 GiB", "1", "0")


@pytest.mark.gpu
def test_an_engine_on_a_full_card_answers_and_a_version_that_finds_no_room_says_so_and_loads_later(
    tmp_path: Path, tell: Tell
) -> None:
    with started(tmp_path, "server", SERVING__DEVICE="cuda", EYAS_TEST_CARD="cuda") as (daemon, client, _):
        models = Models(LocalStore(daemon.data / "models"))
        assert client.classify("colours", picture(COLOURS["green"])).label == "green"
        models.publish("colours", write_bundle(tmp_path / "next", job="job2"), "job2")
        with filled(0):
            asked = [picture(COLOURS[colour]) for colour in COLOURS] * 40
            answers = client.classify_many("colours", asked)
            labels = [one.label for one in answers if isinstance(one, eyas.Classification)]
            assert labels == list(COLOURS) * 40
            with pytest.raises(eyas.EyasError, match="too little memory left to open it"):
                client.classify("colours/2", picture(), timeout=30)
        wait_until(lambda: answered(client, "colours/2"))
    tell(f"a card that is full: {len(asked)} pictures answered, a version refused and loaded when there was room", "1", "0")


def answered(client: eyas.Client, model: str) -> bool:
    try:
        return bool(client.classify(model, picture(), timeout=30).label)
    except eyas.EyasError:
        return False


def write_photos(folder: Path, each: int) -> Path:
    return write_pictures(folder, dict.fromkeys(COLOURS, each), size=(96, 72))


def free_bytes() -> int:
    """Returns how much of the card nobody has."""
    import torch  # which takes seconds, where there is a card

    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info()[0])


@contextmanager
def filled(left: int) -> Iterator[None]:
    """The card is full but for so many bytes, as another program has the rest."""
    import torch  # which takes seconds, where there is a card

    held, size = [], 1 << 30
    while size >= MIB:
        if free_bytes() - left < size:
            size //= 2
            continue
        try:
            held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            size //= 2
    try:
        yield
    finally:
        held.clear()
        torch.cuda.empty_cache()
