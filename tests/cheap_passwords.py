"""What a password costs in tests: next to nothing. Nobody guesses the keys of the cast, and there are hundreds of them.

Costs stand in each protected file, so what reads one is the same. `tests/keeper/test_protected_key.py` takes the real.
"""

from __future__ import annotations

from mitschnitt.keeper import protected_key

REAL = {"SCRYPT_N": protected_key.SCRYPT_N, "SCRYPT_P": protected_key.SCRYPT_P}
CHEAP = {"SCRYPT_N": 16, "SCRYPT_P": 1}


def begin() -> None:
    """From now on, in this process."""
    for name, cost in CHEAP.items():
        setattr(protected_key, name, cost)
