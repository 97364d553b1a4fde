"""Who holds a job, what the queue asks for without reading documents, and events that nobody changes."""

from __future__ import annotations

import json
from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SQLITE_TRIGGER = """
CREATE TRIGGER events_{action} BEFORE {action} ON events BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END
"""
_POSTGRES_TRIGGER = """
CREATE FUNCTION eyas_keep_events() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'events are only ever added'; END $$;
CREATE TRIGGER events_kept BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION eyas_keep_events();
"""


def upgrade() -> None:
    """Adds columns and triggers, and fills the columns in."""
    long = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    for column in (
        sa.Column("type", sa.Text, nullable=False, server_default=""),
        sa.Column("priority", sa.Text, nullable=False, server_default="normal"),
        sa.Column("owner", sa.Text, nullable=False, server_default=""),
        sa.Column("devices", sa.Integer, nullable=False, server_default="1"),
        sa.Column("create_time", sa.Double, nullable=False, server_default="0"),
        sa.Column("resume_time", sa.Double),
        sa.Column("replica", sa.Text),
        sa.Column("renewals", long, nullable=False, server_default="0"),
    ):
        op.add_column("jobs", column)
    connection = op.get_bind()
    jobs = sa.table("jobs", sa.column("number"), sa.column("type"), sa.column("create_time"), sa.column("document"))
    for row in connection.execute(sa.select(jobs.c.number, jobs.c.document)).all():
        job = json.loads(row.document)
        values = {"type": job["type"], "create_time": datetime.fromisoformat(job["create_time"]).timestamp()}
        connection.execute(sa.update(jobs).where(jobs.c.number == row.number).values(values))
    if connection.dialect.name == "sqlite":
        for action in ("update", "delete"):
            op.execute(_SQLITE_TRIGGER.format(action=action))
    else:
        op.execute(_POSTGRES_TRIGGER)
