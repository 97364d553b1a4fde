"""What the `eyas` command shows of a regression gate. Sends nothing."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from eyas._command.words import counted
from eyas._gate import GatePart, RegressionGate


def verdict(gate: RegressionGate) -> RenderableType:
    """Returns how a version did beside the one that it started from, and whether it may take its place."""
    word = Text("passed", style="green") if gate.passed else Text("not passed", style="red")
    head = Text.assemble(
        f"Regression gate, beside {gate.base_version}, with {counted(gate.added_count, 'captured picture')} more: ", word, "."
    )
    return Group(head, _part("test split", gate.test), _part("captured, held out", gate.captured))


def _part(name: str, part: GatePart) -> Text:
    return Text(f"  {name}: {part.finding}", style="" if part.met else "yellow")
