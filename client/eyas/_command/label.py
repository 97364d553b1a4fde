"""How `eyas classify` labels many pictures while somebody looks on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from eyas._command.session import Session
from eyas._errors import EyasError
from eyas._types import Classification

# Two of what the client has under way at a time: the bar moves now and then, and the server does not wait for it.
_AT_A_TIME: Final = 512


def label(session: Session, model: str, paths: Sequence[Path], **asked: Any) -> list[Classification | EyasError]:
    """Returns what `Client.classify_many` does; of more pictures than take a moment, a terminal shows how many are done."""
    answers: list[Classification | EyasError] = []
    silent = session.json or not session.err.is_terminal or len(paths) <= _AT_A_TIME
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=session.err, transient=True, disable=silent) as bar:
        task = bar.add_task("", total=len(paths))
        for start in range(0, len(paths), _AT_A_TIME):
            answers += session.client.classify_many(model, paths[start : start + _AT_A_TIME], **asked)
            bar.update(task, completed=len(answers))
    return answers
