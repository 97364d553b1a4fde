"""What the tests of faults share: how much of them is done, and the table of what they did, for docs/reliability.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

_ROW: Final = "faults"
_LINE: Final = "faults, below"
_HEAD: Final = ("| done | times | found |", "|---|---|---|")

Note = Callable[[str], None]
# Of a test: what was done to the product, how often, and what was found.
Tell = Callable[[str, str, str], None]


@pytest.fixture(scope="session")
def all_faults(request: pytest.FixtureRequest) -> bool:
    """Whether everything is to be tried that docs/reliability.md counts, and not only what every change can wait for."""
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
    """Prints the rows, as docs/reliability.md has them."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    told = dict.fromkeys(pair for report in reports for pair in report.user_properties if report.when == "call")
    rows, lines = ([line for name, line in told if name == wanted] for wanted in (_ROW, _LINE))
    for line in (*(_HEAD if rows else ()), *rows, *lines):
        terminalreporter.write_line(line)
