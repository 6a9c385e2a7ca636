"""Receipt codes: each another, sayable, and opening what is sealed to the key that stays."""

from __future__ import annotations

from mitschnitt.core.receipt_code import read_code
from mitschnitt.keeper.receipts import new_receipt
from mitschnitt.vault.page import key_of_code, open_page, seal_page

CALL = "0" * 26


def test_a_code_opens_what_was_sealed_to_its_key_and_no_other_does() -> None:
    receipts = [new_receipt() for _ in range(50)]
    assert len({receipt.code for receipt in receipts}) == len({receipt.page_key for receipt in receipts}) == 50
    sealed = seal_page("caller", CALL, [receipts[0].page_key], {"rule": "x"})
    assert open_page(key_of_code(read_code(receipts[0].code)), "caller", CALL, sealed) == {"rule": "x"}


def test_no_trace_shows_a_code() -> None:
    receipt = new_receipt()
    assert receipt.code not in repr(receipt)
