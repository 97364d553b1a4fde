"""What Alembic runs a step with: the transaction of whoever asked for it."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
