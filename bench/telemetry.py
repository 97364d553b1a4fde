"""What it costs to be seen, and what the autoscaling signal says: `python bench/telemetry.py`.

    observations  what a count and an observed value cost, in microseconds
    overhead      pictures/s of a daemon that counts nothing, and of the same with metrics, a scraper and traces
    saturation    eyas_saturation_ratio while so many times the capacity is offered

The daemons of `overhead` run at the same time on one core, and each is loaded in turn for a moment, in another order each round, so
a machine whose speed drifts favours none; a ratio is between two moments of one round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
import timeit
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import machine
from serving import services
from serving.rows import table
from serving.services import Service
from serving.subject import Subject, photographs, tiny_subject

from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.tracing import Span, Tracing

SILENT = Path(__file__).parent / "serving/silent.py"
COLLECTOR = Path(__file__).parent / "serving/collector.py"
OFFERED = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
CONCURRENCY = 32


@dataclass(frozen=True)
class Mode:
    """A daemon.

    Attributes:
        name: in the table.
        program: what is started instead of `-m eyasd`.
        settings: environment variables.
        scraped: whether somebody asks for its page of metrics every second.
    """

    name: str
    program: Sequence[str] = ("-m", "eyasd")
    settings: Mapping[str, str] = field(default_factory=dict)
    scraped: bool = False


COLLECTOR_PORT = machine.free_port()


def traced(name: str, ratio: float) -> Mode:
    """Returns a daemon with a collector beside it, which gets this share of the calls."""
    settings = {"OTLP_ENDPOINT": f"http://127.0.0.1:{COLLECTOR_PORT}", "TRACE_RATIO": str(ratio)}
    return Mode(name, settings={f"EYASD_TELEMETRY__{key}": value for key, value in settings.items()})


MODES = {
    "off": Mode("nothing counted", (str(SILENT),)),
    "on": Mode("metrics"),
    "scraped": Mode("metrics, scraped every second", scraped=True),
    "traced-0": traced("a collector, and no call traced", 0.0),
    "traced-1": traced("1 % of the calls traced", 0.01),
    "traced-100": traced("every call traced", 1.0),
}


def main() -> None:
    options = arguments()
    print(machine.describe())
    options.data_dir.mkdir(parents=True, exist_ok=True)
    subjects = {"tiny": tiny_subject, "photographs": lambda folder: photographs(folder, options.folder)}
    for part in options.parts.split(","):
        if part == "observations":
            observations()
            continue
        for name in options.subjects.split(","):
            subject = subjects[name](options.data_dir)
            print(f"\n## {part}, {name}\n", flush=True)
            {"overhead": overhead, "saturation": saturation}[part](options, subject)


def observations() -> None:
    """Prints what single calls cost, found by their labels each time, as on the way of a request."""
    metrics = Metrics()
    counted = lambda: metrics.requests.labels("clothing", "3", "OK").inc()  # noqa: E731 - what is timed
    observed = lambda: metrics.stage_seconds.labels("clothing", "3", "total").observe(0.012)  # noqa: E731
    with_trace = lambda: metrics.stage_seconds.labels("clothing", "3", "total").observe(0.012, "4bf92f3577b34da6")  # noqa: E731
    calls = {"a count": counted, "an observed value": observed, "one with a trace": with_trace}
    calls |= tracing()
    number = 100_000
    lines = [(name, f"{min(timeit.repeat(call, number=number, repeat=7)) / number * 1e6:.2f}") for name, call in calls.items()]
    print(f"\n{table(('', 'us'), lines)}\n")


def tracing() -> dict[str, Callable[[], object]]:
    """Returns what calls and their traces cost, whose caller has sent what callers send."""
    off, on, metadata = Tracing(), Tracing(Dropped()), (("user-agent", "grpc-python/1.85"),)

    def traced_call() -> None:
        trace = on.begin("Classify", metadata).trace
        assert trace is not None
        for name in ("admission", "decode", "queue", "inference", "reply"):
            trace.span(name, trace.start, trace.start + 0.001, {"eyas.bytes": 31_207})
        on.finish(trace)

    return {"a call that is not traced": lambda: off.begin("Classify", metadata), "one with five spans": traced_call}


class Dropped:
    """A sink that drops everything."""

    def put(self, spans: Sequence[Span]) -> None:
        """Drops them."""


def overhead(options: argparse.Namespace, subject: Subject) -> None:
    """Prints the pictures a second of each mode, what one takes of the processor, and the ratios to those of the first mode."""
    modes = [MODES[name] for name in options.modes.split(",")]
    rates: dict[str, list[float]] = {mode.name: [] for mode in modes}
    costs: dict[str, list[float]] = {mode.name: [] for mode in modes}
    with ExitStack() as stack:
        stack.enter_context(collector(options.load_cores))
        running = {mode.name: stack.enter_context(serve(mode, subject, options.server_cores)) for mode in modes}
        for number in range(options.rounds + 1):
            turn = number % len(modes)
            for mode in (*modes[turn:], *modes[:turn])[:: 1 if number % 2 else -1]:
                measured = services.measure(running[mode.name], options.load_cores, options.seconds, concurrency=CONCURRENCY)
                if number:  # the first round warms
                    rates[mode.name].append(len(measured.answered) / measured.seconds)
                    costs[mode.name].append(1e6 * measured.server_cpu * measured.seconds / len(measured.answered))
            print(".", end="", file=sys.stderr, flush=True)
    lines = []
    for name in rates:
        cells = [name]
        for each in (rates, costs):
            ratios = [value / base for value, base in zip(each[name], each[modes[0].name], strict=True)]
            low, middle, high = quartiles(ratios)
            cells += [f"{statistics.median(each[name]):,.0f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}"]
        lines.append(cells)
    head = (
        "daemon",
        "pictures/s",
        "of the first",
        "half of the rounds",
        "processor, us a picture",
        "of the first",
        "half of the rounds",
    )
    print(f"\n{table(head, lines)}\n")


@contextmanager
def collector(cores: str) -> Iterator[None]:
    """Starts what takes the traces."""
    command = ["taskset", "-c", cores, sys.executable, str(COLLECTOR), str(COLLECTOR_PORT)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


def saturation(options: argparse.Namespace, subject: Subject) -> None:
    """Prints what the signal says of loads that are known."""
    lines = []
    with serve(MODES["on"], subject, options.server_cores) as service:
        full = services.measure(service, options.load_cores, 10.0, concurrency=CONCURRENCY)
        capacity = len(full.answered) / full.seconds
        for part in OFFERED:
            load = {"rate": part * capacity, "seed": 1, "timeout_ms": 1000}
            started = services.begin(service, options.load_cores, options.saturation_seconds, **load)  # type: ignore[arg-type]
            time.sleep(options.saturation_seconds - 1)
            said = shown(service)
            measured = services.finish(started)
            answered = len(measured.answered) / measured.seconds / capacity
            demand = ", ".join(f"{name} {value:.2f}" for name, value in sorted(said.items()) if name != "saturation")
            lines.append((f"{part:.2f}", f"{answered:.2f}", f"{said['saturation']:.2f}", demand))
    print(f"\n{table(('offered', 'answered', 'eyas_saturation_ratio', 'of which'), lines)}\n")


def shown(service: Service) -> dict[str, float]:
    """Returns the signal, and what it is the largest of."""
    found = {}
    for line in scrape(service).splitlines():
        name, _, value = line.rpartition(" ")
        if name == "eyas_saturation_ratio":
            found["saturation"] = float(value)
        elif name.startswith("eyas_demand_ratio{"):
            found[name.split('resource="')[1].split('"')[0]] = float(value)
    return found


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the three quartiles."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return low, middle, high


_PAGES: dict[int, str] = {}


def scrape(service: Service) -> str:
    """Returns the page of metrics."""
    with urllib.request.urlopen(_PAGES[service.pid]) as answer:  # noqa: S310 - ours
        text: str = answer.read().decode()
    return text


@contextmanager
def serve(mode: Mode, subject: Subject, cores: str) -> Iterator[Service]:
    """Starts a daemon."""
    port = machine.free_port()
    with (
        machine.scratch() as scratch,
        machine.daemon(
            "server", subject.data_dir, cores=cores, settings=mode.settings, program=mode.program, metrics_port=port
        ) as daemon,
    ):
        service = Service(services.eyas(), subject, daemon.address, daemon.pid, Path(scratch))
        _PAGES[service.pid] = f"http://127.0.0.1:{port}/metrics"
        with every_second(lambda: scrape(service)) if mode.scraped else ExitStack():
            yield service


@contextmanager
def every_second(work: Callable[[], object]) -> Iterator[None]:
    """Does something every second, in a thread of its own."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(1.0):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="of pictures for `photographs`, one folder a label; else generated")
    parser.add_argument("--parts", default="observations,overhead,saturation", help="(%(default)s)")
    parser.add_argument("--subjects", default="tiny,photographs", help="(%(default)s)")
    parser.add_argument("--modes", default=",".join(MODES), help="of overhead, the first of which is compared with (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="of overhead (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load of overhead (%(default)s)")
    parser.add_argument("--saturation-seconds", type=float, default=30.0, help="of each load of saturation (%(default)s)")
    parser.add_argument("--data-dir", type=Path, default=Path("build/bench/serve"), help="of the daemons (%(default)s)")
    parser.add_argument("--server-cores", default="0", help="as taskset reads them (%(default)s)")
    parser.add_argument("--load-cores", default=str((os.cpu_count() or 1) - 1), help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
