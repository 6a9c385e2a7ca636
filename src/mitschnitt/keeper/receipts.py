"""Receipt codes: drawn at random, told once to whoever speaks to the caller, and kept nowhere.

What stays is the public half of the key that is derived from a code: it seals pages and opens none.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from mitschnitt.core.receipt_code import CODE_BITS, is_sayable, read_code, write_code
from mitschnitt.vault.page import key_of_code, public_of


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is told of a call once, and by which key its caller's page is sealed."""

    code: str = field(repr=False)
    page_key: bytes  # X25519, public


def new_receipt() -> Receipt:
    """A fresh one."""
    number = secrets.randbits(CODE_BITS)
    while not is_sayable(number):  # five of 37 check symbols are none that can be dictated
        number = secrets.randbits(CODE_BITS)
    code = write_code(number)
    return Receipt(code, public_of(key_of_code(read_code(code))))
