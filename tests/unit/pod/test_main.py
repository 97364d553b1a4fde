"""pod.__main__: what becomes of an attempt that cannot begin, or has been done."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eyasd.core import jobdir
from eyasd.pod import __main__ as program
from eyasd.pod import patience
from eyasd.pod.layout import place, send
from eyasd.storage.local import LocalStore

Run = Callable[..., int]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the program of a pod in this process; it must not come to start another."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(program, "Program", None)
    monkeypatch.setattr(program, "_INPUTS_SECONDS", 0.0)

    def main(**more: str | Path) -> int:
        words = {"trainer": "127.0.0.1:1", "store": f"file://{tmp_path / 'store'}", "job": "j1", "attempt": "2", **more}
        words = {"scratch": tmp_path / "scratch", **words}
        arguments = [word for name, value in words.items() for word in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", ["eyasd.pod", *arguments])
        return program.main()

    return main


def hand_over(store: LocalStore, side: str, folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    send(store, f"jobs/j1/2/{side}", folder, [folder / name])


def test_one_without_inputs_says_so_and_may_be_tried_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == jobdir.PASSING
    assert "has no inputs of attempt 2 of job j1: was it given up?" in capsys.readouterr().err


def test_a_store_that_is_away_is_told(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store").write_text("no folder")
    assert run() == jobdir.PASSING
    assert "store" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "status"), [(jobdir.RESULT, jobdir.OK), (jobdir.ERROR, jobdir.USER_ERROR)])
def test_what_an_earlier_pod_has_done_is_not_done_again(
    run: Run, store: LocalStore, tmp_path: Path, name: str, status: int
) -> None:
    hand_over(store, "in", tmp_path / "in", jobdir.TRAINING)
    hand_over(store, "out/1", tmp_path / "one", name)
    hand_over(store, "out/2", tmp_path / "two", jobdir.LOG)
    assert run() == status


def test_one_that_has_to_make_way_before_it_began_begins_nothing(
    run: Run, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over(store, "in", tmp_path / "in", jobdir.TRAINING)
    monkeypatch.setattr(patience.Grace, "begun", property(lambda _: True))
    assert run() == jobdir.TERMINATED
    assert store.children(f"{place('j1', 2, 'out')}") == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"nodes": "2"}, "--nodes is more than 1, and nobody says where they meet"),
        ({"store": "ftp://photos"}, "invalid check_address value: 'ftp://photos'"),
    ],
)
def test_one_that_is_set_up_wrongly_says_so(run: Run, capsys: pytest.CaptureFixture[str], more: dict[str, str], says: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(**more)
    assert says in capsys.readouterr().err


def test_a_folder_that_is_in_use_is_left_alone(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / jobdir.PROGRESS).write_text("1\n")
    with pytest.raises(SystemExit, match="2"):
        run()
    assert "is not empty: each pod needs a folder of its own" in capsys.readouterr().err


def test_an_address_without_a_port_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(trainer="eyas-trainer") == 1
    assert "'eyas-trainer' is not an address" in capsys.readouterr().err
