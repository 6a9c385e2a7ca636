"""The checker of backward draws: an honest one passes, and each way to cheat is found from the two files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from keeper.days_on_disk import CHAIN, round_of, site
from keeper.test_backward_draws import drawn, files
from mitschnitt.errors import MalformedPacket, TooLarge
from mitschnitt.proof import backward, drand
from mitschnitt.proof.backward import check_backward

Told = dict[str, Any]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    with site(tmp_path_factory.mktemp("honest")) as here:
        drawn(here)
        return files(here)


def found(honest: tuple[bytes, bytes], change: Callable[[Told, Told], None]) -> str:
    record, result = json.loads(honest[0]), json.loads(honest[1])
    change(record, result)
    again = json.dumps(record).encode() if record != json.loads(honest[0]) else honest[0]
    return " / ".join(check_backward(again, json.dumps(result).encode()))


def test_an_honest_draw_passes(honest: tuple[bytes, bytes]) -> None:
    assert check_backward(*honest) == []


def drops(_record: Told, result: Told) -> None:
    result["population"] = result["population"][1:]


def adds(_record: Told, result: Told) -> None:
    result["population"] = sorted([*result["population"], ["00" * 16, 0]])


def moves(_record: Told, result: Told) -> None:
    result["population"][0][1] = (result["population"][0][1] + 1) % 7


def doubles(_record: Told, result: Told) -> None:
    result["population"].insert(0, result["population"][0])


def picks_another(_record: Told, result: Told) -> None:
    chosen = result["picks"]["2026-11-18"]
    spare = next(identifier for identifier, place in result["population"] if place == 2 and identifier not in chosen)
    chosen[1] = spare


def picks_one_more(_record: Told, result: Told) -> None:
    result["picks"]["2026-11-18"].append(result["picks"]["2026-11-19"][0])


def skips_a_stratum(_record: Told, result: Told) -> None:
    del result["picks"]["2026-11-18"]


def says_gone_and_picks(_record: Told, result: Told) -> None:
    result["gone"] = [result["picks"]["2026-11-18"][0]]


def says_gone_what_never_was(_record: Told, result: Told) -> None:
    result["gone"] = ["ff" * 16]


def grinds_the_beacon(_record: Told, result: Told) -> None:
    result["beacon"]["value"] = "00" * 32


def exchanges_a_value(_record: Told, result: Told) -> None:
    result["beacon"]["shares"]["council"]["value"] = "00" * 32


def changes_the_kind(_record: Told, result: Told) -> None:
    result["beacon"]["kind"] = "drand"


def takes_more_afterwards(record: Told, _result: Told) -> None:
    record["take"] = 4


def counts_otherwise(record: Told, _result: Told) -> None:
    record["strata"][0][1] += 1


@pytest.mark.parametrize(
    "change, sentence",
    [
        (drops, "root was published"),
        (adds, "root was published"),
        (moves, "counts of the strata"),
        (doubles, "stands in it twice"),
        (picks_another, "smallest tickets"),
        (picks_one_more, "smallest tickets"),
        (skips_a_stratum, "smallest tickets"),
        (says_gone_and_picks, "smallest tickets"),
        (says_gone_what_never_was, "never was in the population"),
        (grinds_the_beacon, "not the one that its values make"),
        (exchanges_a_value, "the value of council is not the one"),
        (changes_the_kind, "another kind"),
        (takes_more_afterwards, "another record"),
        (counts_otherwise, "another record"),
    ],
)
def test_a_cheat_is_found(honest: tuple[bytes, bytes], change: Callable[[Told, Told], None], sentence: str) -> None:
    assert sentence in found(honest, change)


def test_a_beacon_by_drand_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(drand.CHAINS, CHAIN.name, CHAIN)
    before = {"beacon": {"kind": "drand", "chain": "tests", "round": 7}, "period": "2026-W47"}

    def told(number: int, signature: bytes) -> list[str]:
        value = hashlib.sha256(b"mitschnitt/v1/beacon/drand|" + number.to_bytes(8, "big") + signature).hexdigest()
        beacon: Mapping[str, Any] = {"kind": "drand", "round": number, "signature": signature.hex(), "value": value}
        return backward._beacon_problems(before, beacon)

    assert told(7, round_of(7)) == []
    assert "does not verify" in told(7, round_of(8))[0]
    assert "not the one that its round makes" in told(8, round_of(7))[0]


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"kind":"backward"}', b"\xff", b"[" * 100_000])
def test_what_is_no_such_file_is_refused(honest: tuple[bytes, bytes], data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        check_backward(honest[0], data)
    with pytest.raises(MalformedPacket):
        check_backward(data, honest[1])


def test_a_file_too_long_is_not_read(honest: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backward, "MAX_FILE_BYTES", 10)
    with pytest.raises(TooLarge):
        check_backward(*honest)


def test_it_shares_no_line_with_what_draws() -> None:
    text = Path(backward.__file__).read_text()
    assert "mitschnitt.core" not in text
    assert "mitschnitt.keeper" not in text
