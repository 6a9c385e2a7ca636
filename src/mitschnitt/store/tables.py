"""The tables of the domain database. No number, name, digit or agent of a call stands in clear in any of them.

Only shapes: no query, no connection. `store/migrations` builds the same shapes; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
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
DAY_CHARS = 10  # ISO 8601 date, in the time zone of the policy
SUBJECT_CHARS = 19  # a day, or a period that is drawn from backward: `backward-2026-11-26`

metadata = MetaData()

# A call. Rows that say `not_kept` are alike whatever the reason: no index, no due date, no parties, and a sealed
# decision of one size. `arrived_day` is a day on purpose: a time would tell one call from another. WITHOUT ROWID, as
# all tables with a call id: rows that are numbered as they come would lay calls beside the draws of their day.
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
    sqlite_with_rowid=False,
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
    Column("pseudonym", String(17), nullable=True),  # of an agent in this call only: who hears it does not know whom
    sqlite_with_rowid=False,
)

# The SIP ladders of a kept call: words and numbers. A call that is not kept has no row, and an erasure takes it away.
ladders = Table(
    "ladders",
    metadata,
    Column("call_id", String(CALL_CHARS), ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
    Column("rungs", Text, nullable=False),
    sqlite_with_rowid=False,
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

# A day of the draw: what was fixed before it began. The day's key itself is never in the database.
days = Table(
    "days",
    metadata,
    Column("day", String(DAY_CHARS), primary_key=True),
    Column("policy_hash", String(HASH_CHARS), nullable=False),
    Column("key_sha256", String(HASH_CHARS), nullable=False),
    Column("beacon_kind", String(8), nullable=False),
    Column("drand_round", Integer, nullable=True),
    Column("beacon", String(HASH_CHARS), nullable=True),  # hex, once it is known
    Column("opened_at", String(TIME_CHARS), nullable=False),
    Column("record", LargeBinary, nullable=False),  # the published bytes: draw/<day>/day.json
    CheckConstraint("beacon_kind IN ('none', 'commit', 'drand')", name="beacon_is_of_a_known_kind"),
)

# What operator, works council and officer committed to for a day, and told later; their own signed acts.
commitments = Table(
    "commitments",
    metadata,
    Column("day", String(SUBJECT_CHARS), primary_key=True),
    Column("role", String(16), primary_key=True),
    Column("commitment", String(HASH_CHARS), nullable=False),
    Column("act", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("value", String(HASH_CHARS), nullable=True),
    Column("reveal_act", LargeBinary, nullable=True),
    Column("reveal_signature", LargeBinary, nullable=True),
)

# Rounds of the public beacon that were verified.
rounds = Table(
    "rounds",
    metadata,
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("signature", LargeBinary, nullable=False),
)

# The newest time that the keeper has seen, in one row: a clock that went back over a restart is noticed by it.
clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seen_at", String(TIME_CHARS), nullable=False),
    CheckConstraint("id = 1", name="there_is_one_clock"),
)

# Each draw, once, dense from 1 per day and source. No call is named: a draw and a call are not joined in any table.
draws = Table(
    "draws",
    metadata,
    Column("day", String(DAY_CHARS), primary_key=True),
    Column("source", String(16), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("stratum", Integer, nullable=True),  # place in the policy; None: excluded
    Column("exclusion", Integer, nullable=True),  # place in the policy; None: in a stratum
    Column("verdict", String(24), nullable=False),  # drawn | not_drawn | excluded | capped.<cap>
    Column("agent_tag", LargeBinary(8), nullable=True),  # keyed per week; None: agent not known
    Column("outcome", String(10), nullable=True),  # of a drawn call: kept | failed | not_agreed; None: not over yet
    CheckConstraint("outcome IS NULL OR outcome IN ('kept', 'failed', 'not_agreed')", name="outcome_is_one_word"),
    CheckConstraint("outcome IS NULL OR verdict = 'drawn'", name="only_drawn_calls_have_outcomes"),
    Index("draws_by_tag", "agent_tag", "day"),
)

# How many draws of a day fell into a stratum. Grows in their transaction, so that no call has to count a whole day.
seen = Table(
    "seen",
    metadata,
    Column("day", String(DAY_CHARS), primary_key=True),
    Column("calls", Integer, nullable=False),
)

# Units of caps that a source was given, from which of its numbers on they counted, and how many it has taken.
allowances = Table(
    "allowances",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("cap", String(16), nullable=False),  # agent_week | agent_share | share
    Column("week", String(8), nullable=False),
    Column("agent_tag", LargeBinary(8), nullable=True),
    Column("source", String(16), nullable=False),
    Column("day", String(DAY_CHARS), nullable=False),
    Column("from_n", Integer, nullable=False),
    Column("units", Integer, nullable=False),
    Column("taken", Integer, nullable=False),
    CheckConstraint("taken BETWEEN 0 AND units", name="no_unit_is_taken_twice"),
    Index("allowances_by_week", "week", "agent_tag"),
    sqlite_autoincrement=True,
)

# What a person concerned may read of a call, sealed to that person. Every closed call has the same pages, of one size.
pages = Table(
    "pages",
    metadata,
    Column("call_id", String(CALL_CHARS), ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
    Column("person", String(8), primary_key=True),  # caller | agent
    Column("sealed", LargeBinary, nullable=False),
    CheckConstraint("person IN ('caller', 'agent')", name="person_is_a_party"),
    sqlite_with_rowid=False,
)

# Purposes that all parties of a kept call agreed to beside the one that it is kept for.
call_purposes = Table(
    "call_purposes",
    metadata,
    Column("call_id", String(CALL_CHARS), ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
    Column("purpose", String(64), primary_key=True),
    sqlite_with_rowid=False,
)

# Published figures: the policy's cells only, computed once when their month was over, never changed.
cells = Table(
    "cells",
    metadata,
    Column("month", String(7), primary_key=True),
    Column("grp", String(64), primary_key=True),
    Column("measure", String(32), primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("share", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("high", Float, nullable=False),
)

# Months whose figures were computed, even if nothing of them may be told: nobody computes a month twice.
cell_months = Table(
    "cell_months",
    metadata,
    Column("month", String(7), primary_key=True),
    Column("policy_hash", String(HASH_CHARS), nullable=False),
)

# Who was counted in which cell, by a keyed tag, so that later cells cannot be subtracted from it. Of twelve months.
cell_people = Table(
    "cell_people",
    metadata,
    Column("month", String(7), primary_key=True),
    Column("grp", String(64), primary_key=True),
    Column("person", String(32), primary_key=True),
)
