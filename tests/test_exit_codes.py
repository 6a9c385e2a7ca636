"""Exit codes are a contract with scripts: five numbers that never change."""

from __future__ import annotations

from mitschnitt import exit_codes


def test_the_codes_are_those_of_the_contract() -> None:
    found = {name: value for name, value in vars(exit_codes).items() if name.isupper()}
    assert found == {"DONE": 0, "REFUSED": 1, "WRONG_USAGE": 2, "NOT_REACHABLE": 3, "VERIFICATION_FAILED": 4}
