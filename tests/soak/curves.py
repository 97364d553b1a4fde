"""What is judged of a run, and how it is shown: a table of verdicts and a page of plots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .verdict import Verdict, Word, judge

mpl.use("Agg")
from matplotlib import pyplot as plt

_MB: Final = 1e6
_COLOURS: Final = 48  # of a picture


@dataclass(frozen=True)
class Curve:
    """A column of the samples that has to be flat.

    Attributes:
        name: of the column, or of what several come to.
        panel: of the plot in which it is drawn.
        allowed: growth in an hour up to which it is flat, in its unit.
        share: the same, as a share of its level; the larger one counts.
        unit: by which the samples' numbers are divided, and what that is called.
        floor: whether its lowest samples count, as of memory: what is free goes back every 15 s, and what has stayed is seen then.
        columns: that are added, of processes with the same role; those that hold memory give it back at different moments.
    """

    name: str
    panel: str
    allowed: float
    share: float = 0.0
    unit: tuple[float, str] = (1, "")
    floor: bool = False
    columns: tuple[str, ...] = ()


_BYTES: Final = (_MB, "MB")
_LASTING: Final = {
    "supervisor": ("supervisor",),
    "acceptors": ("acceptor 1", "acceptor 2"),
    "engine that stays": ("engine that stays",),
    "trainer": ("trainer",),
}


def _of_lasting(what: str, panel: str, allowed: float, share: float = 0.0, **more: Any) -> Iterator[Curve]:
    for role, processes in _LASTING.items():
        yield Curve(f"{role}: {what}", panel, allowed, share, columns=tuple(f"{one}: {what}" for one in processes), **more)


CURVES: Final = (
    *_of_lasting("anonymous memory", "memory of processes that last, MB", 4, 0.05, unit=_BYTES, floor=True),
    Curve("engines that go: anonymous memory of each", "memory of processes that come and go, MB", 4, 0.05, _BYTES),
    Curve("all: memory (PSS)", "memory of all (PSS), MB", 10, 0.05, _BYTES, floor=True),
    # Half of what one acceptor may use of one version: the slots that it ever had in use at once.
    Curve("all: memory shared by descriptors", "shared memory, MB", 2, 0.05, _BYTES),
    Curve("shared memory: bytes", "shared memory, MB", 1, 0, _BYTES),
    Curve("shared memory: files", "shared memory, files", 1),
    *_of_lasting("descriptors", "file descriptors", 4),
    *_of_lasting("threads", "threads", 1),
    Curve("all: processes", "processes", 0.5),
    Curve("temporary files", "files left in the folder of temporary ones", 4),
    Curve("server: series of metrics", "series of metrics", 20, 0.02),
    Curve("trainer: series of metrics", "series of metrics", 20, 0.02),
    Curve("disk: models", "disk, MB", 1, 0.05, _BYTES),
    Curve("p50", "milliseconds of a good call", 0, 0.5, (1, "ms")),
)


class Samples:
    """The samples of a run: rows of numbers by column, one a line of JSON."""

    def __init__(self, rows: Sequence[dict[str, float]]) -> None:
        self._rows = rows
        self.seconds = [row["seconds"] for row in rows]

    @classmethod
    def read(cls, file: Path) -> Samples:
        return cls([json.loads(line) for line in file.read_text().splitlines()])

    def columns(self, curve: Curve) -> NDArray[np.float64]:
        """Returns the numbers of each of its columns, in its unit, [columns, rows]; NaN where a row has none."""
        names = curve.columns or (curve.name,)
        return np.array([[row.get(name, np.nan) for row in self._rows] for name in names]) / curve.unit[0]

    def judge(self, curve: Curve) -> Verdict:
        """Returns what it came to: the lowest of each column of a floor, added, or else the median of their sum."""
        found = self.columns(curve)
        each, quantile = (found, 0.0) if curve.floor else (found.sum(0, keepdims=True), 0.5)
        return judge(self.seconds, each, curve.allowed, curve.share, quantile)


def table(verdicts: dict[Curve, Verdict]) -> str:
    """Returns the verdicts in Markdown."""
    lines = ["| what | level | growth in an hour (95 %) | allowed | |", "|---|---|---|---|---|"]
    for curve, one in verdicts.items():
        unit = f" {curve.unit[1]}".rstrip()
        growth = f"{one.slope:+.3g} ({one.low:+.3g} to {one.high:+.3g}){unit}"
        lines.append(f"| {curve.name} | {one.level:.4g}{unit} | {growth} | {one.allowed:.3g}{unit} | {one.word} |")
    return "\n".join(lines)


def plot(samples: Samples, verdicts: dict[Curve, Verdict], file: Path, more: dict[str, Sequence[str]]) -> None:
    """Draws a panel of each kind of curve, with its line where it is judged.

    Args:
        samples: of the run.
        verdicts: of its curves; one that grows is drawn thick.
        file: gets the picture.
        more: columns that are shown and not judged, by their panel.
    """
    panels: dict[str, list[Curve]] = {}
    for curve in verdicts:
        panels.setdefault(curve.panel, []).append(curve)
    for panel, names in more.items():
        panels.setdefault(panel, []).extend(
            Curve(name, panel, np.inf, unit=_BYTES if panel.endswith("MB") else (1, "")) for name in names
        )
    rows = -(-len(panels) // 3)
    figure, places = plt.subplots(rows, 3, figsize=(15, 2.9 * rows), squeeze=False, layout="constrained")
    minutes = np.array(samples.seconds) / 60
    for place, (panel, curves) in zip(places.flat, panels.items(), strict=False):
        for curve in curves:
            values = samples.columns(curve).sum(0)
            kept = ~np.isnan(values)
            grows = curve in verdicts and verdicts[curve].word is Word.GROWS
            label = curve.name.removesuffix(": anonymous memory").removesuffix(": descriptors").removesuffix(": threads")
            place.plot(minutes[kept], values[kept], linewidth=2 if grows else 0.8, label=f"{label}{' GROWS' if grows else ''}")
        place.set_title(panel, fontsize=9)
        place.set_ylim(0, 1.4 * place.get_ylim()[1])  # with room for the legend
        place.set_xlim(left=0)
        place.grid(alpha=0.3)
        place.tick_params(labelsize=8)
        place.legend(fontsize=7, loc="upper left", ncols=2)
    for place in places.flat[len(panels) :]:
        place.remove()
    for place in places[-1]:
        place.set_xlabel("minutes", fontsize=8)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=80)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(file, optimize=True)  # a third of the bytes
