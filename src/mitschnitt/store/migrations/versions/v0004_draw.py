"""Days of the draw, beacons, draws, allowances, pages of persons, further purposes, published cells."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; calls that came before the draw have no draw, no page and no further purpose."""
    _draw()
    _beacons()
    _forget_order()
    op.add_column("parties", sa.Column("pseudonym", sa.String(17), nullable=True))
    _persons()
    _figures()


def _forget_order() -> None:
    """Calls and what belongs to them without row numbers: these told in which order calls came, as draws do."""
    old = ("parties", "ladders", "calls")  # children first: a table that goes takes its children's rows along
    for name in old:
        op.execute(f"CREATE TABLE old_{name} AS SELECT * FROM {name}")  # noqa: S608 - names of this file
        op.drop_table(name)
    _calls()
    _parties()
    for name in reversed(old):
        op.execute(f"INSERT INTO {name} SELECT * FROM old_{name} ORDER BY call_id")  # noqa: S608 - names of this file
        op.drop_table(f"old_{name}")


def _calls() -> None:
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
        sqlite_with_rowid=False,
    )


def _parties() -> None:
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
        sa.Column("binding", sa.Text, nullable=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ladders",
        sa.Column("call_id", sa.String(26), sa.ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("rungs", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _draw() -> None:
    op.create_table(
        "days",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("policy_hash", sa.String(64), nullable=False),
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("beacon_kind", sa.String(8), nullable=False),
        sa.Column("drand_round", sa.Integer, nullable=True),
        sa.Column("beacon", sa.String(64), nullable=True),
        sa.Column("opened_at", sa.String(27), nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("beacon_kind IN ('none', 'commit', 'drand')", name="beacon_is_of_a_known_kind"),
    )
    op.create_table(
        "draws",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("source", sa.String(16), primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("stratum", sa.Integer, nullable=True),
        sa.Column("exclusion", sa.Integer, nullable=True),
        sa.Column("verdict", sa.String(24), nullable=False),
        sa.Column("agent_tag", sa.LargeBinary(8), nullable=True),
        sa.Column("outcome", sa.String(10), nullable=True),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('kept', 'failed', 'not_agreed')", name="outcome_is_one_word"
        ),
        sa.CheckConstraint("outcome IS NULL OR verdict = 'drawn'", name="only_drawn_calls_have_outcomes"),
    )
    op.create_index("draws_by_tag", "draws", ["agent_tag", "day"])
    op.create_table(
        "allowances",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("cap", sa.String(16), nullable=False),
        sa.Column("week", sa.String(8), nullable=False),
        sa.Column("agent_tag", sa.LargeBinary(8), nullable=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("from_n", sa.Integer, nullable=False),
        sa.Column("units", sa.Integer, nullable=False),
        sa.Column("taken", sa.Integer, nullable=False),
        sa.CheckConstraint("taken BETWEEN 0 AND units", name="no_unit_is_taken_twice"),
        sqlite_autoincrement=True,
    )
    op.create_index("allowances_by_week", "allowances", ["week", "agent_tag"])


def _beacons() -> None:
    op.create_table(
        "commitments",
        sa.Column("day", sa.String(19), primary_key=True),
        sa.Column("role", sa.String(16), primary_key=True),
        sa.Column("commitment", sa.String(64), nullable=False),
        sa.Column("act", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.String(64), nullable=True),
        sa.Column("reveal_act", sa.LargeBinary, nullable=True),
        sa.Column("reveal_signature", sa.LargeBinary, nullable=True),
    )
    op.create_table(
        "rounds",
        sa.Column("round", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seen_at", sa.String(27), nullable=False),
        sa.CheckConstraint("id = 1", name="there_is_one_clock"),
    )


def _persons() -> None:
    op.create_table(
        "pages",
        sa.Column("call_id", sa.String(26), sa.ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("person", sa.String(8), primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("person IN ('caller', 'agent')", name="person_is_a_party"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "call_purposes",
        sa.Column("call_id", sa.String(26), sa.ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("purpose", sa.String(64), primary_key=True),
        sqlite_with_rowid=False,
    )


def _figures() -> None:
    op.create_table(
        "cells",
        sa.Column("month", sa.String(7), primary_key=True),
        sa.Column("grp", sa.String(64), primary_key=True),
        sa.Column("measure", sa.String(32), primary_key=True),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("low", sa.Float, nullable=False),
        sa.Column("high", sa.Float, nullable=False),
    )
    op.create_table(
        "cell_months",
        sa.Column("month", sa.String(7), primary_key=True),
        sa.Column("policy_hash", sa.String(64), nullable=False),
    )
    op.create_table(
        "cell_people",
        sa.Column("month", sa.String(7), primary_key=True),
        sa.Column("grp", sa.String(64), primary_key=True),
        sa.Column("person", sa.String(32), primary_key=True),
    )


def downgrade() -> None:
    """Never: an older program must not write a newer database."""
    raise NotImplementedError("the domain database only moves forward")
