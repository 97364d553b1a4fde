"""What to know of a version before one trusts its figures, in words."""

from __future__ import annotations

from typing import Final

from eyasd.core.bundle import Manifest
from eyasd.core.wording import counted

_FEW_PICTURES: Final = 100  # one of fewer moves the accuracy by more than a point
_FEW_OF_LABEL: Final = 10  # the interval of a recall is then wider than 40 points
_MUCH_ERROR: Final = 0.1


def cautions(manifest: Manifest) -> list[str]:
    """Returns what is worth a warning, the test split first, then the dataset."""
    evaluation, report = manifest.evaluation, manifest.dataset_report
    found = []
    if evaluation.examples < _FEW_PICTURES:
        found.append(
            f"The test split has {counted(evaluation.examples, 'picture')} only: "
            f"each moves the accuracy by {100 / evaluation.examples:.1f} points."
        )
    few = [row.label for row in evaluation.labels if row.examples < _FEW_OF_LABEL]
    if few:
        found.append(
            f"{len(few)} of {len(evaluation.labels)} labels have fewer than {_FEW_OF_LABEL} test pictures, such as {few[0]!r}: "
            "what is said of each of them is a guess."
        )
    missed = [row.label for row in evaluation.labels if row.examples and not row.recall]
    if missed:
        found.append(f"Of {counted(len(missed), 'label')} not one test picture was recognised, such as {missed[0]!r}.")
    if evaluation.calibration_error > _MUCH_ERROR:
        found.append(
            f"Its confidence is off: on average it differs by {100 * evaluation.calibration_error:.0f} points "
            "from the share that is right."
        )
    if report.suspects and report.suspects.count:
        found.append(
            f"{report.suspects.count:,} of {report.suspects.examined:,} labels of train and validation look wrong; see below which."
        )
    return [*found, *report.warnings]
