"""How busy this server is, in one number for an autoscaler, and what it is made of; see `serving.queue.load`.

A server is as full as the fullest of what a request needs: the engines of its model, the decoders, and the event loop. Of the loop,
work is the time that its thread ran or waited for a processor, and for each call that was turned away what an answered one takes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from eyasd.serving.queue.admission import Admission
from eyasd.serving.queue.load import Load
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.names import OTHER


class Saturation:
    """Shows it, whenever somebody looks. To be made in the event loop's thread."""

    def __init__(
        self, admission: Admission, metrics: Metrics, share: int = 1, loop_seconds: Callable[[], float] | None = None
    ) -> None:
        """Begins to watch.

        Args:
            admission: knows what engines and decoders have to do.
            metrics: where it is shown.
            share: how many acceptors share the engines.
            loop_seconds: how long the event loop's thread ran, or would have if it had been let; None asks the system.
        """
        self._admission = admission
        self._metrics = metrics
        self._share = share
        self._loop_seconds = loop_seconds or _work_of_this_thread()
        self._loop = Load(1, admission.clock())
        self._seconds = self._loop_seconds()
        self._turned_away = self._let_in = 0.0
        self._shown: dict[tuple[str, str], tuple[float, float]] = {}
        metrics.registry.before.append(self.show)

    def show(self) -> None:
        """Brings the metrics up to now."""
        now = self._admission.clock()
        self._count_loop()
        decoders = self._admission.decoders
        ratios = [
            self._show("loop", "", self._loop, self._loop.look(now)),
            self._show("decoder", "", decoders, self._admission.look_at_decoders(now)),
        ]
        for model, load in self._admission.engines().items():
            ratios.append(self._show("engine", model, load, load.look(now) * self._share, self._share))
        self._metrics.saturation.labels().set(max(ratios))

    def _show(self, resource: str, model: str, load: Load, ratio: float, share: int = 1) -> float:
        """Shows and returns the load of a resource, of which this server's share is one of so many."""
        demanded, offered = self._shown.get((resource, model), (0.0, 0.0))
        self._metrics.demand_seconds.labels(resource, model).inc(load.demanded - demanded)
        self._metrics.capacity_seconds.labels(resource, model).inc((load.offered - offered) / share)
        self._metrics.demand.labels(resource, model).set(ratio)
        self._shown[resource, model] = (load.demanded, load.offered)
        return ratio

    def _count_loop(self) -> None:
        seconds, let_in = self._loop_seconds(), float(self._admission.let_in)
        turned_away = self._admission.turned_away + self._metrics.refusals.labels(OTHER, "calls").value
        worked, answered = seconds - self._seconds, let_in - self._let_in
        each = worked / answered if answered else 0.0
        self._loop.demanded += worked + each * (turned_away - self._turned_away)
        self._seconds, self._let_in, self._turned_away = seconds, let_in, turned_away


def _work_of_this_thread() -> Callable[[], float]:
    """Returns what tells how long this thread ran or waited for a processor; the former alone where Linux keeps no account."""
    clock = time.pthread_getcpuclockid(threading.get_ident())
    account = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")

    def seconds() -> float:
        try:
            ran, waited, _ = map(int, account.read_bytes().split())
        except (OSError, ValueError):
            return time.clock_gettime(clock)
        return (ran + waited) / 1e9

    return seconds
