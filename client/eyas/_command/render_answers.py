"""What the `eyas` command shows of pictures that were labelled."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from eyas._command.words import percent, plain
from eyas._errors import EyasError
from eyas._types import Classification
from eyas._unknown import Unknown, UnknownReason


def classifications(answers: Iterable[tuple[str, Classification | EyasError]], *, ids: bool = False) -> Table:
    """Returns one row a picture and label, of a multi-label model with whether it applies; an unknown picture has one more, why.

    With `ids` the first row of each picture has the id of its answer.
    """
    results = list(answers)
    several = any(isinstance(result, Classification) and result.multi_label for _, result in results)
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("label")
    table.add_column("probability", justify="right")
    if several:
        table.add_column("applies")
    table.add_column("version")
    if ids:
        table.add_column("prediction id", no_wrap=True)
    for path, result in results:
        if isinstance(result, EyasError):
            table.add_row(plain(path), Text(result.message, style="red"))
            continue
        if result.unknown is not None:
            table.add_row(plain(path), Text(f"unknown: {_why(result.unknown)}", style="yellow"))
        for rank, prediction in enumerate(result.predictions):
            first = rank == 0
            unsaid = several or result.unknown is not None
            style = "bold" if prediction.applies or (first and not unsaid) else "dim"
            table.add_row(
                plain(path if first and result.unknown is None else ""),
                Text(prediction.label, style=style),
                Text(f"{prediction.probability:.3f}", style=style),
                *([Text("yes" if prediction.applies else "no", style=style)] if several else []),
                result.version if first else "",
                *([result.prediction_id if first else ""] if ids else []),
            )
    return table


def _why(unknown: Unknown) -> str:
    share = percent(unknown.share)
    match unknown.reason:
        case UnknownReason.OUT_OF_DISTRIBUTION:
            return f"less like the training pictures than {share} of known ones"
        case UnknownReason.LOW_CONFIDENCE if unknown.threshold > 1:
            return f"answers of its most probable label are not right {share} of the time, however probable"
        case UnknownReason.LOW_CONFIDENCE:
            return f"its most probable label has {unknown.score:.3f}, answers that are {share} right have {unknown.threshold:.3f}"
        case UnknownReason.UNSPECIFIED:
            return "for a reason that a newer eyas knows"
