"""trackers.tensorboard: files that TensorBoard itself reads, and that are the same whatever happened while they were written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from eyasd.core.jobs import JobError, JobState, JobType
from eyasd.core.tracks import Track
from eyasd.jobs.feed import Feed
from eyasd.trackers.tensorboard import TensorBoardTracker
from sagas import START, Saga, step, validation

FILE = "events.out.tfevents.eyas"


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(one.step, round(one.value, 6)) for one in read(folder).Scalars(tag)]


@pytest.fixture
def tracker(tmp_path: Path) -> TensorBoardTracker:
    return TensorBoardTracker(tmp_path / "boards")


async def test_tensorboard_reads_curves_texts_and_hyper_parameters(saga: Saga, tracker: TensorBoardTracker, tmp_path: Path) -> None:
    saga.tell("1", steps=3)
    await saga.follower(tracker)._look()
    folder = tmp_path / "boards" / "colours" / "1"
    assert scalars(folder, "train/loss") == [(1, 1.0), (2, 0.5), (3, 0.333333)]
    assert scalars(folder, "train/learning_rate") == [(1, 0.01), (2, 0.005), (3, 0.003333)]
    assert scalars(folder, "validation/accuracy") == [(0, 0.5), (3, 0.8)]
    assert scalars(folder, "test/accuracy") == [(3, 0.9)]
    assert scalars(folder, "test_low/accuracy") == [(3, 0.74)]
    board = read(folder)
    times = [one.wall_time for one in board.Scalars("train/loss")]
    assert times == [event.time.timestamp() for event in saga.store.events("1", 1) if event.progress and event.progress.step][:3]
    assert board.Tensors("job")[0].tensor_proto.string_val[0].decode().splitlines()[:2] == [
        "- model: colours",
        "- dataset: /photos",
    ]
    assert board.Tensors("end")[0].tensor_proto.string_val[0] == b"succeeded: colours/1"
    kept = board.summary_metadata["_hparams_/session_start_info"].plugin_data
    asked = plugin_data_pb2.HParamsPluginData.FromString(kept.content).session_start_info.hparams
    assert {name: asked[name].WhichOneof("kind") for name in asked} == {
        "preset": "string_value",
        "budget": "string_value",
        "learning_rate": "number_value",
        "epochs": "number_value",
    }


@pytest.mark.parametrize("rest", [b"", b"\x01\x02\x03"])
async def test_a_kill_between_any_two_pages_changes_no_byte(saga: Saga, tmp_path: Path, rest: bytes) -> None:
    whole, pieces = TensorBoardTracker(tmp_path / "whole"), TensorBoardTracker(tmp_path / "pieces")

    class OneByOne(Feed):
        async def events(self, track: Track) -> list:
            return (await super().events(track))[:1]

    class Dying(OneByOne):
        async def advance(self, track: Track) -> None:
            raise asyncio.CancelledError

    saga.tell("1")
    await saga.follower(whole)._look()
    for _ in saga.store.events("1", 1):
        with pytest.raises(asyncio.CancelledError):
            await saga.follower(pieces, feed=Dying)._look()
        path = tmp_path / "pieces" / "colours" / "1" / FILE
        follower = saga.follower(pieces, feed=OneByOne)
        (track,), _ = await follower._feed.behind()
        if path.exists() and rest:  # what it had written and not noted was not all on the disk yet
            content = path.read_bytes()
            path.write_bytes(content[: max(track.size_bytes, len(content) - 5)] + rest)
        await follower._tell_of(track)
    assert (await follower._feed.behind())[1] == 0
    assert path.read_bytes() == (tmp_path / "whole" / "colours" / "1" / FILE).read_bytes()
    assert scalars(path.parent, "train/loss") == [(1, 1.0), (2, 0.5), (3, 0.333333)]


async def test_a_full_disk_is_an_outage_that_is_made_up_for(saga: Saga, tracker: TensorBoardTracker, tmp_path: Path) -> None:
    folder = tmp_path / "boards" / "colours" / "1"
    folder.mkdir(parents=True)
    (folder / FILE).symlink_to("/dev/full")
    saga.tell("1")
    follower = saga.follower(tracker)
    with capture_logs() as logged:
        assert [await follower._look() for _ in range(2)] == [2.0, 4.0]
    (line,) = logged
    assert line["event"] == "tracker away"
    assert "No space left on device" in line["error"]
    (folder / FILE).unlink()
    assert await follower._look() == 1.0
    assert len(scalars(folder, "train/loss")) == 3
    assert saga.sample("eyas_tracker_behind_events", "tensorboard") == 0


async def test_steps_that_an_attempt_takes_again_are_seen_once(saga: Saga, tracker: TensorBoardTracker, tmp_path: Path) -> None:
    saga.submit("1")
    lease = saga.begin("1")
    follower = saga.follower(tracker)
    saga.say(lease, *(step(number) for number in range(1, 6)))
    await follower._look()
    saga.store.update(lease, state=JobState.INTERRUPTED, resume_time=START)
    saga.store.wake()
    saga.say(saga.begin("1"), step(4, loss=7.0), step(5, loss=8.0))
    await follower._look()
    folder = tmp_path / "boards" / "colours" / "1"
    assert scalars(folder, "train/loss") == [(1, 1.0), (2, 0.5), (3, 0.333333), (4, 7.0), (5, 8.0)]


async def test_a_file_that_is_gone_is_written_anew(saga: Saga, tracker: TensorBoardTracker, tmp_path: Path) -> None:
    saga.submit("1")
    lease = saga.begin("1")
    follower = saga.follower(tracker)
    saga.say(lease, step(1, validation=validation(0, 0.5)), step(2))
    await follower._look()
    folder = tmp_path / "boards" / "colours" / "1"
    (folder / FILE).unlink()
    saga.say(lease, step(3))
    await follower._look()
    assert [number for number, _ in scalars(folder, "train/loss")] == [1, 2, 3]
    assert scalars(folder, "validation/accuracy") == [(1, 0.5)]


async def test_only_trainings_that_have_begun_have_a_file(saga: Saga, tracker: TensorBoardTracker, tmp_path: Path) -> None:
    saga.submit("1")
    saga.submit("2", JobType.EVALUATION, version=1)
    saga.begin("2")
    saga.submit("3")
    saga.store.cancel("3")
    saga.submit("4")
    saga.end(saga.begin("4"), JobState.FAILED, error=JobError("BAD_DATASET", "it has one label"))
    await saga.follower(tracker)._look()
    assert [path.name for path in (tmp_path / "boards" / "colours").iterdir()] == ["4"]
    words = read(tmp_path / "boards" / "colours" / "4").Tensors("end")[0].tensor_proto.string_val[0]
    assert words == b"failed: it has one label"
