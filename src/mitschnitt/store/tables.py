"""The tables of the domain database. No number, name, digit or agent of a call stands in clear in any of them.

Only shapes: no query, no connection. `store/migrations` builds the same shapes; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

CALL_CHARS = 26  # Crockford base 32 of 128 bits
HASH_CHARS = 64  # SHA-256 in hex
TIME_CHARS = 27  # RFC 3339 in UTC with microseconds and Z

metadata = MetaData()

# A call. Rows that say `not_kept` are alike whatever the reason: no index, no due date, no parties, and a sealed
# decision of one size. `arrived_day` is a day on purpose: a time would tell one call from another.
calls = Table(
    "calls",
    metadata,
    Column("call_id", String(CALL_CHARS), primary_key=True),
    Column("recorder", Integer, nullable=False),
    Column("tree_index", Integer, nullable=True, unique=True),
    Column("arrived_day", String(10), nullable=False),
    Column("state", String(8), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("policy_hash", String(HASH_CHARS), nullable=False),
    Column("due_at", String(TIME_CHARS), nullable=True),
    Column("sealed_decision", LargeBinary, nullable=True),
    CheckConstraint("state IN ('live', 'kept', 'not_kept')", name="state_is_one_word"),
    CheckConstraint(
        "state <> 'not_kept' OR (tree_index IS NULL AND due_at IS NULL AND sealed_decision IS NOT NULL)",
        name="not_kept_rows_are_alike",
    ),
    CheckConstraint(
        "state <> 'kept' OR (tree_index IS NOT NULL AND due_at IS NOT NULL AND sealed_decision IS NOT NULL)",
        name="kept_rows_are_whole",
    ),
)

# What is kept of one party: first `track` (recovery needs the codecs), then the sealed files.
parties = Table(
    "parties",
    metadata,
    Column("call_id", String(CALL_CHARS), ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
    Column("party", Integer, primary_key=True),
    Column("role", String(8), nullable=False),
    Column("track", Integer, nullable=False),
    Column("codecs", Text, nullable=False),
    Column("media_name", String(200), nullable=True),
    Column("media_size", Integer, nullable=True),
    Column("media_sha256", String(HASH_CHARS), nullable=True),
    Column("timeline_name", String(200), nullable=True),
    Column("timeline_size", Integer, nullable=True),
    Column("timeline_sha256", String(HASH_CHARS), nullable=True),
    Column("reason", String(32), nullable=True),
    Column("started_at", String(TIME_CHARS), nullable=False),
    Column("ended_at", String(TIME_CHARS), nullable=True),
    Column("binding", Text, nullable=True),  # what it rests on that this is the party's voice, as JSON
)

# The SIP ladders of a kept call: words and numbers. A call that is not kept has no row, and an erasure takes it away.
ladders = Table(
    "ladders",
    metadata,
    Column("call_id", String(CALL_CHARS), ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
    Column("rungs", Text, nullable=False),
)

# How far each recorder's journal was applied; moved in the transaction that applies.
journal_offsets = Table(
    "journal_offsets",
    metadata,
    Column("recorder", Integer, primary_key=True, autoincrement=False),
    Column("boot", String(64), nullable=False),
    Column("segment", Integer, nullable=False),
    Column("offset", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
)

# Blocks of call keys that were handed out. `state` open: what no call used of it is punctured when its boot is over.
leases = Table(
    "leases",
    metadata,
    Column("block", Integer, primary_key=True),
    Column("recorder", Integer, nullable=False),
    Column("boot", String(64), nullable=False),
    Column("first", Integer, nullable=False, unique=True),
    Column("count", Integer, nullable=False),
    Column("state", String(6), nullable=False),
    CheckConstraint("state IN ('open', 'closed')", name="state_is_one_word"),
    sqlite_autoincrement=True,
)

# What the key tree must no longer derive from this epoch on. No reason and no time: they would tell calls apart.
punctures = Table(
    "punctures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("first", Integer, nullable=False),
    Column("count", Integer, nullable=False),
    Column("leaf", Integer, nullable=True),
    Index("punctures_by_epoch", "epoch"),
    sqlite_autoincrement=True,
)

# Standing grants and their withdrawals: the agent's own signed acts, never changed.
grants = Table(
    "grants",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("agent", String(64), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("act", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    UniqueConstraint("act", name="an_act_counts_once"),
    Index("grants_by_agent", "agent", "purpose"),
    sqlite_autoincrement=True,
)

# Each access, written before the first byte left. Outlives the recording it is about.
accesses = Table(
    "accesses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("call_id", String(CALL_CHARS), nullable=False),
    Column("role", String(16), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("at", String(TIME_CHARS), nullable=False),
    Column("rule", String(64), nullable=False),
    Index("accesses_by_call", "call_id"),
    sqlite_autoincrement=True,
)
