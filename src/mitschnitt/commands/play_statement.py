"""The completeness statement of a recording, in plain words and as one JSON object.

It says what was expected, what came, and what is silence for which reason. It never says that something is whole when
nobody counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mitschnitt.gateways.decoders import undecoded
from mitschnitt.gateways.recording import Voice
from mitschnitt.wire.codecs import Decoders


def statement(
    call: str,
    voices: Sequence[Voice],
    counted: Mapping[str, Mapping[str, Any]],
    known: Decoders,
    *,
    as_received: Collection[str] = (),
) -> dict[str, Any]:
    """One object for each party, by the names of the channels; who goes out `as_received` needs no decoder.

    `counted` is what the keeper says, by party number.
    """
    parties = {}
    for voice in voices:
        silent = {} if voice.name in as_received else voice.undecoded(known)
        told = counted.get(str(voice.party), {})
        parties[voice.name] = {**told, "undecoded": sum(silent.values()), "undecoded_codings": sorted(silent)}
    return {"call": call, "parties": parties}


def in_words(stated: Mapping[str, Any]) -> list[str]:
    """A line for each party, and one for what is missing to decode it."""
    lines = [f"{name}: {'; '.join(_facts(told))}" for name, told in stated["parties"].items()]
    strange = {coding for told in stated["parties"].values() for coding in told["undecoded_codings"]}
    return [*lines, f"{undecoded(strange)}; silence here, and kept as it came"] if strange else lines


COUNTS = (  # what is said only where it happened
    ("lost", "{} lost"),
    ("late", "{} came late"),
    ("duplicate", "{} came twice"),
    ("masked", "{} of keys, left out"),
    ("injected", "{} from strangers, not kept"),
    ("undecoded", "{} not decoded"),
)
GAPS = {  # wire/completeness, GapKind
    "late_start": "late start",
    "hold": "on hold",
    "pause": "paused",
    "loss": "lost",
    "dtx": "nothing sent",
    "masked": "keys",
}


def _facts(told: Mapping[str, Any]) -> list[str]:
    expected, received = told.get("expected"), told.get("received", 0)
    facts = [f"{received} of {expected} packets" if expected else f"{received} packets; nobody counted what was sent"]
    facts += [words.format(told[name]) for name, words in COUNTS if told.get(name)]
    if silences := _silences(told):
        facts.append(f"silence: {', '.join(silences)}")
    if told.get("skew_ppm"):
        said = "corrected" if told.get("skew_corrected") else "not corrected"
        facts.append(f"clock off by {told['skew_ppm']:+.1f} ppm, {said}")
    if told.get("epochs", 1) > 1:
        facts.append(f"{told['epochs']} clocks one after the other")
    if told.get("reason") not in (None, "", "ended"):
        facts.append(f"ended as {told['reason']}")
    return facts


def _silences(told: Mapping[str, Any]) -> list[str]:
    """Gaps by their kind: how many, and their seconds together."""
    sums = {kind: [int(count), int(length)] for kind, (count, length) in told.get("more_gaps", {}).items()}
    for begin, end, kind in told.get("gaps", ()):
        one = sums.setdefault(kind, [0, 0])
        one[0] += 1
        one[1] += end - begin
    return [f"{GAPS.get(kind, kind)} {count}x {length / 1_000:.1f} s" for kind, (count, length) in sums.items()]
