"""Times and moments as a command line takes them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from eyas._settings import parse_duration


class Time(click.ParamType[timedelta]):
    """A time such as 90s, 10m or 1h30m."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Reads the time; see `click.ParamType`."""
        try:
            return value if isinstance(value, timedelta) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[datetime]):
    """A moment in ISO 8601, such as 2026-11-25T20:00; without an offset in local time."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Reads the moment; see `click.ParamType`."""
        try:
            return value if isinstance(value, datetime) else datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-11-25T20:00 or 2026-11-25T20:00+00:00.", param, ctx)
