"""How many calls of each day were seen, counted beside the draws, so that a cap of the whole need not count them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and count once what was drawn before there was one."""
    op.create_table(
        "seen",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("calls", sa.Integer, nullable=False),
    )
    op.execute("INSERT INTO seen SELECT day, count(*) FROM draws WHERE stratum IS NOT NULL GROUP BY day")


def downgrade() -> None:
    """Never: an older program must not write a newer database."""
    raise NotImplementedError("the domain database only moves forward")
