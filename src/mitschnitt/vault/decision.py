"""The page that says why a call was kept or not: one size for all calls, opened by the officer's key only.

Recorders and keeper both write it, so its size stands here once. What it says is theirs; this file cuts it to
size and seals it, and its length must never tell one outcome from another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mitschnitt.errors import VaultError
from mitschnitt.vault.envelope import ENVELOPE_OVERHEAD, open_with, pad, seal_to, unpad
from mitschnitt.wire.sip.ladder import MAX_RUNGS, Ladder

DECISION_BYTES = 4_096  # plaintext, padded: 8 acts and a ladder of 64 messages take 4,000
SEALED_BYTES = DECISION_BYTES + ENVELOPE_OVERHEAD
MAX_PARTY_CHARS = 40  # of a party's name in a decision: names that gateways post may be longer
MAX_LADDERS = 4  # dialogs of one call: two recording sessions, and what became of them after a transfer


def decision_page(decision: Mapping[str, Any], ladders: Sequence[Ladder] = ()) -> bytes:
    """A decision as JSON, padded to DECISION_BYTES.

    What does not fit is left out: of ladders the middle, then the oldest acts. VaultError when even that is too long.
    """
    told = {**decision, "party": str(decision.get("party", ""))[:MAX_PARTY_CHARS]}
    for rungs, acts in _smaller_and_smaller(len(decision["acts"])):
        told["acts"] = list(decision["acts"])[len(decision["acts"]) - acts :]
        told["ladders"] = [ladder.to_json(most=rungs) for ladder in ladders[:MAX_LADDERS]]
        page = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        if len(page) < DECISION_BYTES:
            return pad(page, DECISION_BYTES)
    raise VaultError(f"a decision has at most {DECISION_BYTES - 1} bytes, even without acts and ladder")


def _smaller_and_smaller(acts: int) -> Iterator[tuple[int, int]]:
    """(rungs of each ladder, acts) to try, from everything to nothing."""
    yield from ((rungs, acts) for rungs in range(MAX_RUNGS, -1, -8))
    yield from ((0, fewer) for fewer in range(acts - 1, -1, -1))


def seal_decision(officer_key: bytes, call: str, decision: Mapping[str, Any], ladders: Sequence[Ladder] = ()) -> bytes:
    """The envelope of SEALED_BYTES for this call. VaultError without a usable key."""
    return seal_to(officer_key, decision_page(decision, ladders), context=_context(call))


def open_decision(private_key: bytes, call: str, sealed: bytes) -> dict[str, Any]:
    """What an envelope says. Damaged when key, call or a byte is another."""
    opened: dict[str, Any] = json.loads(unpad(open_with(private_key, sealed, context=_context(call))))
    return opened


def _context(call: str) -> bytes:
    return b"mitschnitt/v1/decision/" + call.encode()
