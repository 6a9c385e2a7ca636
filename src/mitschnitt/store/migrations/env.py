"""What Alembic runs: every step in one transaction on the connection that `store/upgrade.py` hands over."""

from __future__ import annotations

from alembic import context

from mitschnitt.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter constraints in place
    transactional_ddl=True,
)
context.run_migrations()
