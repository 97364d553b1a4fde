"""The pages for people: what they lead to is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_BLOCK: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_TEST: Final = re.compile(r"\b((?:tests|bench)/[\w./-]+\w\.py|test_\w+\.py)\b")


def anchors(page: Path) -> set[str]:
    """Returns what a page's headings are called in links, as GitHub does."""
    headings = _HEADING.findall(_BLOCK.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_leads_to_is_there(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text())
    for target in _LINK.findall(text):
        place, _, anchor = target.partition("#")
        if "://" in place or place.startswith("mailto:"):
            continue
        led = (page.parent / place).resolve() if place else page
        assert led.exists(), target
        assert not anchor or anchor in anchors(led), target


def test_the_tests_that_pages_name_are_there() -> None:
    names = {file.name for file in ROOT.glob("tests/**/*.py")}
    for page in PAGES:
        for name in _TEST.findall(page.read_text()):
            assert (ROOT / name).exists() if "/" in name else name in names, f"{page.name}: {name}"


def test_every_threat_and_fault_has_a_row_that_names_a_test() -> None:
    text = (ROOT / "docs/reliability.md").read_text()
    rows = dict(re.findall(r"^\| ([AF]\d+) \| (.+)$", text, re.MULTILINE))
    assert set(rows) == {*(f"A{number}" for number in range(1, 25)), *(f"F{number}" for number in range(1, 22))}
    without = {name for name, row in rows.items() if "](../tests/" not in row and "the same |" not in row}
    assert without == {"A24"}  # which nobody promises
