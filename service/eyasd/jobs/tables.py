"""The tables of jobs, their events and what trackers know of them, as the newest migration leaves them.

A job is kept whole as a JSON document; a column beside it repeats what is asked for, or is of the store alone.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, MetaData, Table, Text

METADATA: Final = MetaData()
_LONG: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite's integers have 64 bits, and only INTEGER counts up by itself

JOBS: Final = Table(
    "jobs",
    METADATA,
    Column("number", _LONG, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("request_id", Text, unique=True),
    Column("request", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress_bytes", _LONG, nullable=False, server_default="0"),
    Column("document", Text, nullable=False),
    # Of the job, repeated here to be asked for; times are seconds since 1970.
    Column("type", Text, nullable=False, server_default=""),
    Column("priority", Text, nullable=False, server_default="normal"),
    Column("owner", Text, nullable=False, server_default=""),
    Column("devices", Integer, nullable=False, server_default="1"),
    Column("create_time", Double, nullable=False, server_default="0"),
    Column("resume_time", Double),
    # Who holds the job, and how often that was renewed; see `leases`.
    Column("replica", Text),
    Column("renewals", _LONG, nullable=False, server_default="0"),
    Index("jobs_by_state", "state", "number"),
    sqlite_autoincrement=True,
)

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("job", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    sqlite_with_rowid=False,
)

# Who tells a tracker, such as MLflow, of jobs; see `tracks`. A tracker at another place is another one.
TRACKERS: Final = Table(
    "trackers",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("replica", Text),
    Column("renewals", _LONG, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

TRACKS: Final = Table(
    "tracks",
    METADATA,
    Column("tracker", Text, ForeignKey("trackers.name"), primary_key=True),
    Column("job", Text, ForeignKey("jobs.id"), primary_key=True),
    # Of the document, repeated here to be asked for.
    Column("sequence", Integer, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    sqlite_with_rowid=False,
)
