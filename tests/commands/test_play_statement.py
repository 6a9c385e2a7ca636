"""What is said of a recording's completeness: what happened is counted, and what nobody counted is not called whole."""

from __future__ import annotations

from typing import Any

from gateways.heard import Door, Party, Said, g711
from mitschnitt.commands.play_statement import GAPS, in_words, statement
from mitschnitt.gateways.decoders import decoders
from mitschnitt.wire.completeness import GapKind

KNOWN = decoders(("PCMA",))
EVERYTHING: dict[str, object] = {
    "expected": 100,
    "received": 97,
    "late": 2,
    "duplicate": 1,
    "lost": 4,
    "masked": 5,
    "injected": 6,
    "gaps": [[1_000, 1_500, "loss"], [3_000, 10_000, "hold"], [20_000, 20_040, "loss"]],
    "more_gaps": {"loss": [3, 60]},
    "skew_ppm": -48.26,
    "skew_corrected": True,
    "epochs": 2,
}


def told(door: Door, *, as_received: tuple[str, ...] = ()) -> dict[str, Any]:
    heard = door.recording()
    return statement("C", heard.voices, heard.counted(), KNOWN, as_received=as_received)


def test_a_whole_recording_is_said_in_few_words() -> None:
    counted: dict[str, object] = {"expected": 3, "received": 3, "epochs": 1, "gaps": [], "more_gaps": {}}
    assert in_words(told(Door([Party("caller", g711(3), completeness=counted)]))) == ["caller: 3 of 3 packets"]


def test_everything_that_happened_is_said() -> None:
    (line,) = in_words(told(Door([Party("agent", g711(3), reason="truncated", completeness=EVERYTHING)])))
    assert line.split("; ") == [
        "agent: 97 of 100 packets",
        "4 lost",
        "2 came late",
        "1 came twice",
        "5 of keys, left out",
        "6 from strangers, not kept",
        "silence: lost 5x 0.6 s, on hold 1x 7.0 s",
        "clock off by -48.3 ppm, corrected",
        "2 clocks one after the other",
        "ended as truncated",
    ]


def test_every_kind_of_gap_has_a_word() -> None:
    assert set(GAPS) == {kind.value for kind in GapKind}


def test_where_nobody_counted_nothing_is_called_whole() -> None:
    unknown: list[dict[str, object]] = [{"received": 3}, {"received": 3, "expected": 0}]
    for counted in unknown:
        (line,) = in_words(told(Door([Party("caller", g711(3), completeness=counted)])))
        assert line == "caller: 3 packets; nobody counted what was sent"


def test_what_is_not_decoded_is_counted_and_said() -> None:
    said = [*g711(2), Said(40, 20, b"?" * 10, 1), Said(60, 20, b"?" * 10, 1)]
    stated = told(Door([Party("caller", said, ("PCMA", "X-CELP"))]))
    assert stated["parties"]["caller"]["undecoded"] == 2
    assert stated["parties"]["caller"]["undecoded_codings"] == ["X-CELP"]
    first, last = in_words(stated)
    assert first.endswith("2 not decoded")
    assert last == "not decoded: X-CELP; silence here, and kept as it came"


def test_who_goes_out_as_received_needs_no_decoder() -> None:
    door = Door([Party("caller", [Said(0, 20, b"?")], ("OPUS",))])
    assert told(door)["parties"]["caller"]["undecoded"] == 1
    assert told(door, as_received=("caller",))["parties"]["caller"]["undecoded"] == 0


def test_every_party_is_in_it_also_one_of_whom_nothing_came() -> None:
    door = Door([Party("caller", g711(1)), Party("agent", [], completeness={"expected": 7, "received": 0})])
    assert in_words(told(door))[1] == "agent: 0 of 7 packets"
