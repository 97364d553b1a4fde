"""The report's plots: drawn by matplotlib, and made into SVG that lies within a page and takes the page's colours and font.

matplotlib is imported where something is drawn. It keeps a list of the machine's fonts in its cache folder, made in 0.6 s (with 22
fonts) by the first training of a machine; where that folder cannot be written it takes a temporary one and makes the list anew.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from math import floor
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from markupsafe import Markup

from eyasd.core.evaluation import EpochMetrics, ReliabilityBin
from eyasd.training.outcome.report.curves import Curve, Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW: Final = 10  # answers, of which the share that is right says little
HIGHLIGHTED: Final = 6  # labels with a colour of their own
_MARKS: Final = 12  # on a learning curve

_SVG: Final = "http://www.w3.org/2000/svg"
_XLINK: Final = "http://www.w3.org/1999/xlink"
# matplotlib knows no colours of a page, so each stands for one of these until the SVG is written.
_INK, _LINE = "#00fe01", "#00fe02"
_SERIES: Final = tuple(f"#00fe1{i}" for i in range(HIGHLIGHTED))
_COLOURS: Final = {_INK: "currentColor", _LINE: "var(--line)"} | {name: f"var(--series-{i})" for i, name in enumerate(_SERIES)}
# Colour is never all that tells two lines apart.
_MARKERS: Final = ("o", "s", "^", "D", "v", "X")
_DASHES: Final = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (7, 1.5, 1.5, 1.5)), (0, (3, 1.5)), (0, (9, 3)))
_INCHES: Final = 1 / 72  # so that a unit of the SVG is a pixel of a plot that is 360 pixels wide, as on a phone

_PLACE: Final = (0.17, 0.18, 0.76, 0.78)  # of the axes in a plot; it has room for "100 %" and a name at both of them

_RC: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib; it only decides how much room a text is given
    "font.size": 11,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "hatch.color": _SERIES[0],
    "hatch.linewidth": 1.5,
}


@dataclass(frozen=True, slots=True)
class Line:
    """A curve in the plot, and in the list beside it.

    Attributes:
        sample: an SVG of how its line looks.
        curve: what it is of.
    """

    sample: Markup
    curve: Curve


def learning(history: Sequence[EpochMetrics]) -> list[Markup]:
    """Returns the losses and the accuracy on the validation split, over the epochs."""
    steps = range(len(history))
    best = min(steps, key=lambda i: history[i].loss)
    first, last, least = history[0], history[-1], history[best]

    def draw(axes: Axes, place: int, values: Sequence[float], label: str, start: int = 0) -> None:
        look: dict[str, Any] = {"color": _SERIES[place], "linestyle": _DASHES[place], "marker": _MARKERS[place]}
        axes.plot(steps[start:], values, label=label, markevery=-(-len(history) // _MARKS), **look)

    words = f"Validation loss, from {first.loss:.3f} to {last.loss:.3f}, least at epoch {least.epoch}; and training loss"
    with _plot("loss", words) as losses:
        draw(losses.axes, 0, [epoch.loss for epoch in history], "validation")
        # Epoch 0 is of the head alone, which has no loss of a fine-tuning.
        draw(losses.axes, 1, [epoch.train_loss for epoch in history[1:]], "training", 1)
        losses.axes.plot(best, least.loss, "o", ms=12, mfc="none", mec=_INK, label="least")
        _epochs(losses.axes, history, "loss, nats")
    words = f"Validation accuracy after each epoch, from {first.accuracy:.3f} to {last.accuracy:.3f}; and macro F1"
    with _plot("accuracy", words) as accuracy:
        draw(accuracy.axes, 0, [epoch.accuracy for epoch in history], "accuracy")
        draw(accuracy.axes, 2, [epoch.macro_f1 for epoch in history], "macro F1")
        accuracy.axes.plot(best, least.accuracy, "o", ms=12, mfc="none", mec=_INK, label="least loss")
        _epochs(accuracy.axes, history, "share")
        accuracy.axes.yaxis.set_major_formatter(_percent)
    return [losses.svg, accuracy.svg]


def reliability(bins: Sequence[ReliabilityBin]) -> list[Markup]:
    """Returns the share of answers that are right by their confidence, and how many there are."""
    held = [one for one in bins if one.answers]
    words = "Share right by confidence: " + "; ".join(
        f"{one.confidence:.0%} sure, {one.right:.0%} right, {one.answers} answers" for one in held
    )
    with _plot("reliability", words) as right:
        axes = right.axes
        for one in held:
            look: dict[str, Any] = (
                {"facecolor": "none", "hatch": "///", "edgecolor": _SERIES[0]} if one.answers < FEW else {"color": _SERIES[0]}
            )
            axes.bar(one.low, one.right, 0.94 * (one.high - one.low), align="edge", linewidth=1, **look)
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=1.5, linestyle=_DASHES[1])
        _name(axes, "confidence", "share right")
        _shares(axes)
    with _plot("answers", "How many answers have which confidence") as answers:
        axes = answers.axes
        axes.bar(
            [one.low for one in held],
            [one.answers for one in held],
            [0.94 * (one.high - one.low) for one in held],
            align="edge",
            color=_SERIES[0],
        )
        _name(axes, "confidence", "answers")
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(_percent)
        axes.locator_params(axis="y", integer=True)
    return [right.svg, answers.svg]


def precision_recall(curves: Curves) -> tuple[Markup, list[Line]]:
    """Returns the curves in one plot, and the lines that have a look of their own: of the hardest labels and of all together."""
    hardest = curves.labels[:HIGHLIGHTED]
    words = f"Precision by recall; all answers together have an average precision of {curves.micro.average_precision:.3f}"
    lines = []
    with _plot("precision-recall", words, height=320) as plot:
        axes = plot.axes
        for curve in curves.labels[HIGHLIGHTED:]:
            axes.plot(curve.recalls, curve.precisions, color=_LINE, linewidth=1)
        for i, curve in enumerate(hardest):
            _draw(axes, curve, i)
        axes.plot(curves.micro.recalls, curves.micro.precisions, color=_INK, linewidth=3)
        _name(axes, "recall: share of its pictures found", "precision: share right")
        lowest = min(min(curve.precisions, default=1) for curve in (*curves.labels, curves.micro))
        _shares(axes, min(floor(10 * lowest) / 10, 0.9))
    for i, curve in enumerate((*hardest, curves.micro)):
        with _plot(f"sample-{i}", "", width=48, height=14) as sample:
            axes = sample.axes
            flat = Curve("", 0, 0.0, (0.1, 0.5, 0.9), (0.5, 0.5, 0.5))
            if curve is curves.micro:
                axes.plot(flat.recalls, flat.precisions, color=_INK, linewidth=3)
            else:
                _draw(axes, flat, i, 1)
            axes.set(xlim=(0, 1), ylim=(0, 1))
            axes.set_axis_off()
        lines.append(Line(sample.svg, curve))
    return plot.svg, lines


def _draw(axes: Axes, curve: Curve, place: int, markers: float = 4) -> None:
    every = max(1, int(len(curve.recalls) / markers))
    start = (every * place) // HIGHLIGHTED if markers > 1 else 1
    axes.plot(
        curve.recalls,
        curve.precisions,
        color=_SERIES[place],
        linestyle=_DASHES[place],
        marker=_MARKERS[place],
        markevery=(start, every),
        markersize=6,
    )


def _epochs(axes: Axes, history: Sequence[EpochMetrics], y: str) -> None:
    """Numbers the places of the validations by their epochs, of which one may have several."""
    every = -(-len(history) // 8)
    axes.set_xticks(range(0, len(history), every), [str(epoch.epoch) for epoch in history[::every]])
    axes.legend(frameon=False, labelcolor=_INK)
    _name(axes, "epoch", y)


def _name(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y, rotation_mode="anchor")  # so that the SVG anchors it in its middle, whatever the font


def _shares(axes: Axes, low: float = 0) -> None:
    axes.set(xlim=(0, 1), ylim=(low, 1 + 0.02 * (1 - low)))
    axes.xaxis.set_major_formatter(_percent)
    axes.yaxis.set_major_formatter(_percent)


def _percent(value: float, _: object) -> str:
    return f"{100 * value:.3g}\N{NO-BREAK SPACE}%"


@dataclass
class _Plot:
    """A figure that is being drawn; `svg` is there once it is finished."""

    axes: Axes
    svg: Markup


@contextmanager
def _plot(name: str, words: str, *, width: int = 360, height: int = 260) -> Iterator[_Plot]:
    """Makes a plot of its own, whatever style the user has set for matplotlib, and writes it when it has been drawn.

    Args:
        name: tells the plots of a page apart.
        words: what it shows, for those who do not see it; "" for decoration.
        width: in pixels.
        height: likewise.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # that it makes a list of fonts, or where, is nothing to act upon
    import matplotlib as mpl  # noqa: PLC0415 - half a second that only the end of a training has use for
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC | {"svg.hashsalt": name})
        figure = Figure(figsize=(width * _INCHES, height * _INCHES))
        plot = _Plot(figure.add_axes(_PLACE if words else (0, 0, 1, 1)), Markup())
        yield plot
        written = StringIO()
        FigureCanvasSVG(figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=nothing)  # of this library, no date: equal figures are equal bytes
    plot.svg = _inline(written.getvalue(), words)


def _inline(text: str, words: str) -> Markup:
    """Returns matplotlib's SVG as an element of a page: nothing but what is drawn, in the page's colours and font."""
    root = ET.fromstring(text)  # noqa: S314 - our own
    used = set(re.findall(r"(?:url\(|href=\")#([^\")]+)", text))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}style":  # it is for every element of the page
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        if link := element.attrib.pop(f"{{{_XLINK}}}href", None):
            element.set("href", link)
        if "style" in element.attrib:
            element.set("style", re.sub(r"font-family: [^;]*;? ?|font: (?=\d)", "", element.attrib["style"]))
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        **({"role": "img", "aria-label": words} if words else {"aria-hidden": "true"}),
    }
    found = ET.tostring(root, encoding="unicode", short_empty_elements=True)
    for placeholder, colour in _COLOURS.items():
        found = found.replace(placeholder, colour)
    return Markup(found)  # noqa: S704 - escaped by ElementTree
