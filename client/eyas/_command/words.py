"""Numbers, times, names and lists of files, as every table of the `eyas` command writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import RenderableType
from rich.text import Text

from eyas._findings import UnreadableFile

# What a person reads in one go; --json has more.
MOST_FILES = 20


def unreadable(files: Sequence[UnreadableFile]) -> list[RenderableType]:
    """Returns the files that could not be read, a line each; nothing where there are none."""
    if not files:
        return []
    lines = [plain(f"  {file.path}: {file.reason}") for file in files[:MOST_FILES]]
    return [Text(f"{counted(len(files), 'file')} could not be read:", style="yellow"), *lines, *rest(len(files) - len(lines))]


def rest(count: int) -> list[RenderableType]:
    """Returns the line that says how many more there are; nothing where there are none."""
    return [Text(f"  and {count:,} more; see --json", style="dim")] if count > 0 else []


def percent(share: float) -> str:
    """Returns a share as per cent, to three digits."""
    return f"{100 * share:.3g} %"


def counted(count: int, noun: str) -> str:
    """Returns how many there are of what a regular noun names: `1 picture`, `2,000 pictures`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def clock(time: timedelta) -> str:
    """Returns a time as `m:ss`, or `h:mm:ss` from an hour on."""
    minutes, seconds = divmod(max(0, round(time.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def when(time: datetime) -> str:
    """Returns a time to the minute, in the zone of whoever looks."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}"


def plain(text: str) -> Text:
    """Returns text in which brackets are brackets: names come from folders, and are no markup."""
    return Text(text)
