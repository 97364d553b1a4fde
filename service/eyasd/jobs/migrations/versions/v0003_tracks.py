"""Who tells a tracker of jobs, and how much it has been told of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes both tables."""
    long = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "trackers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("replica", sa.Text),
        sa.Column("renewals", long, nullable=False, server_default="0"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tracks",
        sa.Column("tracker", sa.Text, sa.ForeignKey("trackers.name"), primary_key=True),
        sa.Column("job", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
