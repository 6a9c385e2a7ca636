"""The code that a caller is told once: 100 random bits, as 20 symbols that can be dictated, and a symbol that checks.

Reads and writes codes; draws none, keeps none, and derives no key. A code is a secret: it stands in no error text.
"""

from __future__ import annotations

from mitschnitt.core.call import CROCKFORD
from mitschnitt.errors import MalformedPacket

CODE_BITS = 100  # nobody tries 2^100 keys, whoever has the sealed page
CODE_SYMBOLS = CODE_BITS // 5
GROUP_SYMBOLS = 5  # said and written five at a time
CHECK_MODULUS = 37  # finds every wrong symbol and every exchange of two (Crockford's check symbol)
MAX_TYPED_CHARS = 80  # of a code as somebody types it, with blanks and dashes; more is no code
READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})


def is_sayable(number: int) -> bool:
    """Whether the check symbol of this number is a letter or digit: Crockford's five others cannot be dictated."""
    return number % CHECK_MODULUS < len(CROCKFORD)


def write_code(number: int) -> str:
    """`XXXXX-XXXXX-XXXXX-XXXXX-X`. ValueError for a number of more than 100 bits, or one that is not sayable."""
    if not 0 <= number < 1 << CODE_BITS or not is_sayable(number):
        raise ValueError(f"a receipt code is made of {CODE_BITS} bits whose check symbol is a letter or digit")
    symbols = "".join(CROCKFORD[number >> shift & 31] for shift in range(CODE_BITS - 5, -1, -5))
    groups = [symbols[place : place + GROUP_SYMBOLS] for place in range(0, CODE_SYMBOLS, GROUP_SYMBOLS)]
    return "-".join([*groups, CROCKFORD[number % CHECK_MODULUS]])


def read_code(text: str) -> str:
    """The 20 symbols of a code as somebody typed it: small letters, blanks and dashes, O for 0, I and L for 1.

    MalformedPacket, which repeats no symbol, when some are missing or the last one does not fit the others.
    """
    symbols = text[: MAX_TYPED_CHARS + 1].upper().translate(READ_AS).strip()
    if len(text) > MAX_TYPED_CHARS or len(symbols) != CODE_SYMBOLS + 1 or any(one not in CROCKFORD for one in symbols):
        found = min(len(symbols), MAX_TYPED_CHARS)
        raise MalformedPacket(f"a receipt code has {CODE_SYMBOLS + 1} letters and digits; found {found} characters")
    number = 0
    for one in symbols[:-1]:
        number = number << 5 | CROCKFORD.index(one)
    if number % CHECK_MODULUS != CROCKFORD.index(symbols[-1]):
        raise MalformedPacket("the last symbol of this receipt code does not fit the others; one is mistyped")
    return symbols[:-1]
