"""First shape: calls, parties, journal offsets, leases, punctures, grants, accesses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the seven tables."""
    _make_calls()
    _make_keys()
    _make_acts()


def downgrade() -> None:
    """Never: an older program must not write a newer database."""
    raise NotImplementedError("the domain database only moves forward")


def _make_calls() -> None:
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(26), primary_key=True),
        sa.Column("recorder", sa.Integer, nullable=False),
        sa.Column("tree_index", sa.Integer, nullable=True, unique=True),
        sa.Column("arrived_day", sa.String(10), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("policy_hash", sa.String(64), nullable=False),
        sa.Column("due_at", sa.String(27), nullable=True),
        sa.Column("sealed_decision", sa.LargeBinary, nullable=True),
        sa.CheckConstraint("state IN ('live', 'kept', 'not_kept')", name="state_is_one_word"),
        sa.CheckConstraint(
            "state <> 'not_kept' OR (tree_index IS NULL AND due_at IS NULL AND sealed_decision IS NOT NULL)",
            name="not_kept_rows_are_alike",
        ),
        sa.CheckConstraint(
            "state <> 'kept' OR (tree_index IS NOT NULL AND due_at IS NOT NULL AND sealed_decision IS NOT NULL)",
            name="kept_rows_are_whole",
        ),
    )
    op.create_table(
        "parties",
        sa.Column("call_id", sa.String(26), sa.ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("party", sa.Integer, primary_key=True),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("track", sa.Integer, nullable=False),
        sa.Column("codecs", sa.Text, nullable=False),
        sa.Column("media_name", sa.String(200), nullable=True),
        sa.Column("media_size", sa.Integer, nullable=True),
        sa.Column("media_sha256", sa.String(64), nullable=True),
        sa.Column("timeline_name", sa.String(200), nullable=True),
        sa.Column("timeline_size", sa.Integer, nullable=True),
        sa.Column("timeline_sha256", sa.String(64), nullable=True),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("started_at", sa.String(27), nullable=False),
        sa.Column("ended_at", sa.String(27), nullable=True),
    )


def _make_keys() -> None:
    op.create_table(
        "journal_offsets",
        sa.Column("recorder", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("boot", sa.String(64), nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("offset", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("block", sa.Integer, primary_key=True),
        sa.Column("recorder", sa.Integer, nullable=False),
        sa.Column("boot", sa.String(64), nullable=False),
        sa.Column("first", sa.Integer, nullable=False, unique=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("state", sa.String(6), nullable=False),
        sa.CheckConstraint("state IN ('open', 'closed')", name="state_is_one_word"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "punctures",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("leaf", sa.Integer, nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_index("punctures_by_epoch", "punctures", ["epoch"])


def _make_acts() -> None:
    op.create_table(
        "grants",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("act", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("act", name="an_act_counts_once"),
        sqlite_autoincrement=True,
    )
    op.create_index("grants_by_agent", "grants", ["agent", "purpose"])
    op.create_table(
        "accesses",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("accesses_by_call", "accesses", ["call_id"])
