"""Networks are measured in turn, alone and in batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from eyasd.training.outcome import latency


@dataclass
class Network:
    """Takes its time for each picture, by a clock that it moves itself."""

    name: str
    seconds: float
    ran: list[tuple[str, int]]
    clock: list[float]

    def run(self, outputs: list[str], inputs: dict[str, Any]) -> None:
        count = len(inputs["images"])
        self.ran.append((self.name, count))
        self.clock[0] += self.seconds * count


def test_of_one_picture_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, int]] = []
    clock = [0.0]
    monkeypatch.setattr(latency, "perf_counter", lambda: clock[0])
    assert latency.of_one(Network("slow", 0.2, ran, clock), np.zeros((8, 8, 3), np.uint8)) == timedelta(milliseconds=200)
    assert ran == [("slow", 1)] * 7


def test_in_turn_with_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, int]] = []
    clock = [0.0]
    monkeypatch.setattr(latency, "perf_counter", lambda: clock[0])
    networks = [Network("quick", 0.001, ran, clock), Network("slow", 0.2, ran, clock)]
    quick, slow = latency.measure(networks, [np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 6, 6, 3), np.uint8)])
    assert (quick.single, quick.batch) == (timedelta(milliseconds=1), timedelta(milliseconds=1))
    assert (slow.single, slow.batch) == (timedelta(milliseconds=200), timedelta(milliseconds=200))
    assert ran[:4] == [("quick", 1), ("slow", 1)] * 2
    assert len([one for one in ran if one == ("slow", 1)]) == 21  # one to warm up
    assert len([one for one in ran if one == ("slow", 4)]) == 8  # 5 seconds are over after the seventh
