"""serving.network.plan: no core idles, and none has two threads of the network."""

from __future__ import annotations

import pytest

from eyasd.core.device import Optimize
from eyasd.serving.network.plan import Plan, plan
from eyasd.serving.network.providers import CPU, CUDA


@pytest.mark.parametrize(
    ("cores", "latency", "throughput"),
    [(1, Plan(1, 1), Plan(1, 1)), (2, Plan(1, 2), Plan(2, 1)), (8, Plan(1, 8), Plan(8, 1)), (20, Plan(2, 8), Plan(8, 2))],
)
def test_the_cores_are_shared_for_what_is_asked(cores: int, latency: Plan, throughput: Plan) -> None:
    assert plan(CPU, cores, Optimize.LATENCY) == latency
    assert plan(CPU, cores, Optimize.THROUGHPUT) == throughput


@pytest.mark.parametrize("optimize", Optimize)
def test_a_gpu_needs_one_thread_that_starts_its_kernels(optimize: Optimize) -> None:
    assert plan(CUDA, 64, optimize) == Plan(1, 1)
