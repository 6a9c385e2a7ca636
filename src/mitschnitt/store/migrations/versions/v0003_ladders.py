"""The SIP ladders of kept calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; calls that were kept before have no ladder."""
    op.create_table(
        "ladders",
        sa.Column("call_id", sa.String(26), sa.ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("rungs", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Never: an older program must not write a newer database."""
    raise NotImplementedError("the domain database only moves forward")
