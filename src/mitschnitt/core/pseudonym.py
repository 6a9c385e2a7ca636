"""How an agent is called towards those who may not know whom they hear: another name in every call.

Keyed: without the site's key nobody says whether two names are of one agent. Holds no key, remembers no name.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

from mitschnitt.core.call import decode_call_id
from mitschnitt.core.gate import Party
from mitschnitt.core.view import View

KEY_BYTES = 32  # of `secrets/pseudonym.key`
WORDS = 3  # of 16 bits each: among 1,000 names two are alike once in 500 million
CONSONANTS = "bdfghjklmnprstvz"  # 4 bits each; the alphabet of proquints (Wilkerson 2009): no two sound alike
VOWELS = "aiou"  # 2 bits each
WORD = f"[{CONSONANTS}][{VOWELS}][{CONSONANTS}][{VOWELS}][{CONSONANTS}]"
SPEAKABLE = re.compile("-".join([WORD] * WORDS))  # the form of every pseudonym
DOMAIN = b"mitschnitt/v1/pseudonym|"


def pseudonym(key: bytes, call: str, agent: str) -> str:
    """The agent's name in this call: three words of five letters such as `lusab-babad-gutih`; 48 bits.

    `key` has 32 bytes; ValueError for another length, MalformedPacket for what is no call id. The id's canonical
    spelling has one length, so that no call and agent can be mistaken for another pair.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"a pseudonym key has {KEY_BYTES} bytes, got {len(key)}")
    decode_call_id(call)
    digest = hmac.digest(key, DOMAIN + call.encode() + b"|" + agent.encode(), hashlib.sha256)
    return "-".join(_word(int.from_bytes(digest[2 * place : 2 * place + 2], "big")) for place in range(WORDS))


def names_of(view: View | None, call: str, parties: Iterable[Party]) -> dict[int, str]:
    """The pseudonyms of the agents of a call, by number of the party; none without view or key."""
    key = b"" if view is None else view.pseudonym_key
    return {party.number: pseudonym(key, call, party.agent) for party in parties if key and party.agent is not None}


def _word(number: int) -> str:
    """Sixteen bits as consonant, vowel, consonant, vowel, consonant."""
    return (
        CONSONANTS[number >> 12]
        + VOWELS[number >> 10 & 3]
        + CONSONANTS[number >> 6 & 15]
        + VOWELS[number >> 4 & 3]
        + CONSONANTS[number & 15]
    )
