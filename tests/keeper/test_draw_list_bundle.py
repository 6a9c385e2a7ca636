"""A bundle that is there is believed whole or not at all; what its day's list makes of it, test_draw_lists says."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.draw_list_bundle import PREFIX, Bundle
from mitschnitt.keeper.draw_list_records import SortedById
from second.draw_lists import council_of, honest_week, public_of

DAY = honest_week(1, 240, 14)[0]
WHOLE = council_of(DAY)
SIZE = PREFIX.unpack(WHOLE[: PREFIX.size])[1]
RECORDS = WHOLE[PREFIX.size + SIZE :]


def with_header(**changed: Any) -> bytes:
    header = json.dumps(json.loads(WHOLE[PREFIX.size : PREFIX.size + SIZE]) | changed).encode()
    return PREFIX.pack(WHOLE[:8], len(header)) + header + RECORDS


def test_its_public_header_is_the_one_that_the_list_would_have_had() -> None:
    public = public_of(DAY)
    size = PREFIX.unpack(public[: PREFIX.size])[1]
    header = public[PREFIX.size : PREFIX.size + size]
    assert Bundle(io.BytesIO(WHOLE)).public_header(json.loads(header)["records_sha256"]) == header


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "is no bundle"),
        (b"MSDRAWC1", "has no header"),
        (public_of(DAY), "is no bundle"),
        (WHOLE[:8] + b"\xff\xff\xff\xff" + WHOLE[12:], "is no bundle"),
        (PREFIX.pack(WHOLE[:8], 2) + b"[]", "has no header"),
        (PREFIX.pack(WHOLE[:8], 2) + b"{}", "has no header"),
        (with_header(sources=None), "has no header"),
        (with_header(seen="many"), "has no header"),
        (WHOLE[:-1], "does not hold the draws"),
        (WHOLE + RECORDS[:18], "does not hold the draws"),
        (with_header(seen=1), "does not hold the draws"),
        (with_header(records_sha256="00" * 32), "does not hold the draws"),
    ],
)
def test_what_is_no_whole_bundle_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(NotAllowed, match=rf"the day's bundle {says}.*draw\.list\.second"):
        Bundle(io.BytesIO(data))


def test_a_bundle_of_another_key_is_refused() -> None:
    with pytest.raises(NotAllowed, match="has another key than the day"):
        Bundle(io.BytesIO(WHOLE)).hand_on([], b"k" * 32, SortedById(io.BytesIO()))


def test_draws_that_are_no_more_are_refused() -> None:
    with pytest.raises(NotAllowed, match="holds draws that are no more"):
        Bundle(io.BytesIO(WHOLE)).hand_on([], DAY.key, SortedById(io.BytesIO()))
