"""What each kept party's binding rests on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column of its own; rows of older programs have nothing in it."""
    op.add_column("parties", sa.Column("binding", sa.Text, nullable=True))


def downgrade() -> None:
    """Never: an older program must not write a newer database."""
    raise NotImplementedError("the domain database only moves forward")
