"""How the network shares the processors: how many engines a version has, and how many threads each. Numbers in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eyasd.core.device import Optimize
from eyasd.serving.network.providers import CPU

# Further threads of one run wait for each other more than they compute, and further engines hold the network once more each.
_MOST: Final = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """How a version runs.

    Attributes:
        engines: that answer at the same time, each with a session of its own.
        threads: of the operators of one engine's run.
    """

    engines: int
    threads: int


def plan(provider: str, cores: int, optimize: Optimize) -> Plan:
    """Returns how a version runs on so many cores.

    An engine on a GPU needs one thread, which starts kernels. On a CPU, one engine that runs a picture on all cores answers it
    soonest, and an engine a core answers the most pictures: no thread waits for another.
    """
    if provider != CPU:
        return Plan(engines=1, threads=1)
    most = min(cores, _MOST)
    return Plan(cores // most, most) if optimize is Optimize.LATENCY else Plan(most, cores // most)
