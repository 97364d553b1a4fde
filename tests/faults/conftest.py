"""What the tests of faults share: how much of them is done, and the table of what they did, for docs/attacks.md and faults.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

_ROW: Final = "faults"
_LINE: Final = "faults, below"
_HEAD: Final = ("| done | times | found |", "|---|---|---|")
_FOLDER: Final = Path(__file__).parent
# Of a test that does not say how long it may take: on a busy machine some have taken more than four minutes.
_SECONDS: Final = 3600

Note = Callable[[str], None]
# Of a test: what was done to the product, how often, and what was found.
Tell = Callable[[str, str, str], None]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts what takes long behind the rest, the longest first, so that in the end no process has all of it to do by itself."""
    if not config.getoption("all_faults"):
        return
    ours = [item for item in items if item.path.is_relative_to(_FOLDER)]
    ours.sort(key=lambda item: -mark.args[0] if (mark := item.get_closest_marker("timeout")) else -float("inf"))
    items[:] = [item for item in items if item not in ours] + ours
    for item in ours:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SECONDS))


@pytest.fixture(scope="session")
def all_faults(request: pytest.FixtureRequest) -> bool:
    """Whether everything is to be tried that docs/attacks.md and faults.md count, and not only what every change can wait for."""
    return bool(request.config.getoption("all_faults"))


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Adds a line below the table at the end."""
    return lambda line: record_property(_LINE, line)


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Adds a row to the table at the end."""
    return lambda done, count, found: record_property(_ROW, f"| {done} | {count} | {found} |")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the rows, as docs/attacks.md and faults.md have them, those of a file together."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    reports.sort(key=lambda report: report.location[0])
    told = dict.fromkeys(pair for report in reports for pair in report.user_properties if report.when == "call")
    rows, lines = ([line for name, line in told if name == wanted] for wanted in (_ROW, _LINE))
    for line in (*(_HEAD if rows else ()), *rows, *lines):
        terminalreporter.write_line(line)
