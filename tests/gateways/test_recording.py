"""A call as the door plays it: any range is the slice of the whole, each party on its channel, no damage is silence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.heard import CALL, MS, Door, Party, Said, g711, payload, recording
from mitschnitt.errors import ConfigError, Damaged, KeyGone, MitschnittError, NotAllowed
from mitschnitt.gateways.decoders import decoders
from mitschnitt.gateways.recording import BLOCK_NS, Part, Recording, Samples, rate_of, recording_from
from mitschnitt.wire import g711 as laws

KNOWN = decoders(("PCMA", "PCMU", "G722", "OPUS", "CN", "L16/44100/1"))
CALLER, AGENT = g711(150, seed=1), g711(100, seed=2, at=500)
WITH_GAPS = [one for one in CALLER if int(one.at) // 20 not in (3, 4, 40, 41, 42, 149)]
G722 = [Said(20 * n, 20, bytes((n * 7 + k * k) % 256 for k in range(160))) for n in range(100)]


def whole(heard: Recording, rate: int = 8_000) -> Samples:
    start, stop = heard.part(None, None).samples(rate)
    return heard.samples(heard.sides(""), KNOWN, start, stop, rate)


def test_what_was_said_is_played_sample_by_sample_each_party_on_its_channel() -> None:
    heard = recording(Party("agent", AGENT, ("PCMU",)), Party("caller", CALLER))
    assert [voice.name for voice in heard.sides("")] == ["caller", "agent"]
    found = whole(heard)
    assert found.shape == (24_000, 2)
    assert np.array_equal(found[:, 0], laws.decode(payload(CALLER), laws.Law.PCMA))
    assert not found[:4_000, 1].any()
    assert np.array_equal(found[4_000:20_000, 1], laws.decode(payload(AGENT), laws.Law.PCMU))
    assert not found[20_000:, 1].any()


def test_what_was_not_kept_is_silence_of_exact_length() -> None:
    found = whole(recording(Party("caller", WITH_GAPS)))[:, 0]
    spoken = laws.decode(payload(CALLER), laws.Law.PCMA)[: len(found)].copy()
    for lost in (3, 4, 40, 41, 42):
        spoken[lost * 160 : lost * 160 + 160] = 0
    assert len(found) == 149 * 160
    assert np.array_equal(found, spoken)


STEREO = recording(Party("caller", WITH_GAPS), Party("agent", AGENT, ("PCMU",)))
WHOLE = {rate: whole(STEREO, rate) for rate in (8_000, 16_000, 48_000)}


SKEWED = recording(
    Party("caller", [Said(20.01 * n, 20.01, one.payload) for n, one in enumerate(CALLER)]),
    Party("agent", [Said(19.99 * n + 7, 19.99, one.payload) for n, one in enumerate(AGENT)]),
)
SKEWED_WHOLE = {rate: whole(SKEWED, rate) for rate in (8_000, 16_000, 48_000)}


@pytest.mark.thorough
@settings(deadline=None)
@given(st.data())
@pytest.mark.parametrize("heard, every", [(STEREO, WHOLE), (SKEWED, SKEWED_WHOLE)], ids=["even", "skewed"])
def test_any_range_is_the_slice_of_the_whole(heard: Recording, every: dict[int, Samples], data: st.DataObject) -> None:
    rate = data.draw(st.sampled_from(sorted(every)))
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(every[rate]))] * 2)))
    found = heard.samples(heard.sides(""), KNOWN, start, stop, rate)
    assert np.array_equal(found, every[rate][start:stop])


def test_a_skewed_voice_is_stretched_and_no_packet_is_silence() -> None:
    assert len(SKEWED_WHOLE[8_000]) == 24_012, "150 packets of 20.01 ms"
    loud = np.abs(SKEWED_WHOLE[8_000][:, 0].astype(np.int64)).reshape(-1, 4)
    assert (loud.max(axis=1) > 0).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.integers(1, 40))
def test_a_range_of_a_codec_that_remembers_is_close_to_the_slice_of_the_whole(first: int, count: int) -> None:
    heard = recording(Party("caller", G722, ("G722",)))
    every = whole(heard, 16_000).astype(np.int64)
    start, stop = first * 320, min((first + count) * 320, len(every))
    found = heard.samples(heard.sides(""), KNOWN, start, stop, 16_000)
    assert len(found) == stop - start
    if first < 10:  # decoded from the very beginning: the same
        assert np.array_equal(found, every[start:stop])
    assert np.abs(found - every[start:stop]).max() <= 2_000  # of 32,768, for bytes that no coder would make


def test_one_side_has_the_times_of_both() -> None:
    both, agent = STEREO, STEREO.sides("agent")
    assert np.array_equal(both.samples(agent, KNOWN, 0, 20_000, 8_000)[:, 0], WHOLE[8_000][:20_000, 1])


def test_a_side_that_is_not_there_is_named_and_so_are_those_that_are() -> None:
    with pytest.raises(ConfigError, match="side: expected one of caller, agent; found 'coach'"):
        STEREO.sides("coach")


def test_a_call_without_audio_is_refused_with_its_rule() -> None:
    for nobody in (recording(), recording(Party("caller", []))):
        with pytest.raises(NotAllowed) as refused:
            nobody.sides("")
        assert refused.value.rule == "play.nothing_kept"


def test_a_party_of_whom_nothing_came_has_no_channel() -> None:
    assert [voice.name for voice in recording(Party("caller", CALLER), Party("agent", [])).sides("")] == ["caller"]


@pytest.mark.parametrize(
    "roles, names",
    [
        (("agent", "caller"), ["caller", "agent"]),
        (("caller", "agent", "third", "third"), ["caller", "agent", "third-1", "third-2"]),
        (("caller", "agent", "agent"), ["caller", "agent", "agent-2"]),
        (("", "", ""), ["caller", "agent", "third-1"]),
    ],
)
def test_every_voice_has_a_name_of_its_own(roles: tuple[str, ...], names: list[str]) -> None:
    heard = recording(*(Party(role, CALLER[:1]) for role in roles))
    assert [voice.name for voice in heard.voices] == names


def test_the_rate_is_the_highest_that_was_received() -> None:
    two = [Said(0, 20, bytes(160)), Said(20, 20, bytes(160), 1)]
    for codings, rate in (
        (("PCMA",), 8_000),
        (("PCMA", "G722"), 16_000),
        (("PCMA", "OPUS"), 48_000),
        (("PCMA", "L16/44100/1"), 48_000),
        (("PCMA", "G729"), 8_000),
    ):
        heard = recording(Party("caller", two[: len(codings)], codings))
        assert rate_of(heard.voices, KNOWN) == rate
    assert (
        rate_of(recording(Party("caller", CALLER, ("PCMA", "OPUS"))).voices, KNOWN) == 8_000
    )  # no packet of Opus came


def test_what_nothing_decodes_is_counted_and_comfort_noise_is_not_among_it() -> None:
    said = [*g711(3), Said(60, 20, b"?", 1), Said(80, 20, b"!", 2)]
    (voice,) = recording(Party("caller", said, ("PCMA", "G729", "CN"))).voices
    assert voice.packets == 5
    assert voice.undecoded(decoders(("PCMA", "CN"))) == {"G729": 1}


def test_a_part_lies_within_the_call() -> None:
    heard = recording(Party("caller", CALLER))
    assert heard.part(None, None) == Part(0, 3_000 * MS)
    assert heard.part(500 * MS, None).samples(8_000) == (4_000, 24_000)
    for begin, end, sentence in (
        (3_000, None, r"from: the recording lasts 3\.000 s; found 3\.000 s"),
        (None, 3_001, r"to: the recording lasts 3\.000 s; found 3\.001 s"),
        (2_000, 1_000, r"to: expected a time after 2\.000 s, found 1\.000 s"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            heard.part(None if begin is None else begin * MS, None if end is None else end * MS)


def test_a_second_asks_for_little_more_than_a_second() -> None:
    door = Door([Party("caller", CALLER)])
    heard = door.recording()
    heard.samples(heard.sides(""), KNOWN, 8_000, 16_000, 8_000)
    ((start, stop, parties, before),) = door.asked
    assert (list(parties), before) == ([0], 10)
    assert 0.9 * 1e9 < start < 1e9 < 2e9 < stop < 2.1e9
    assert stop - start < BLOCK_NS


def test_damage_says_from_when_to_when_and_is_never_silence() -> None:
    door = Door([Party("caller", CALLER)], error=Damaged("media of party 0 (caller): chunk 3 fails its tag"))
    heard = door.recording()
    with pytest.raises(Damaged, match=r"between 1\.000 and 2\.000 s: media of party 0 .* plays with --from and --to"):
        heard.samples(heard.sides(""), KNOWN, 8_000, 16_000, 8_000)


@pytest.mark.parametrize("error", [KeyGone("gone"), NotAllowed("playback.over")])
def test_a_refusal_stays_what_it_is(error: MitschnittError) -> None:
    door = Door([Party("caller", CALLER)], error=error)
    heard = door.recording()
    with pytest.raises(type(error)):
        heard.samples(heard.sides(""), KNOWN, 0, 8_000, 8_000)


@pytest.mark.parametrize(
    "answer, sentence", [(b"nonsense", "gave no packets"), (b"", "of 1 parties were asked for, of 0 they came")]
)
def test_an_answer_that_is_none_is_damage(answer: bytes, sentence: str) -> None:
    good = Door([Party("caller", CALLER)]).recording()
    heard = Recording(good.call, good.duration_ns, good.voices, lambda *_: answer, good.counted)
    with pytest.raises(Damaged, match=sentence):
        heard.samples(heard.sides(""), KNOWN, 0, 8_000, 8_000)


def test_a_row_of_a_coding_that_nobody_named_is_damage() -> None:
    heard = recording(Party("caller", [Said(0, 20, bytes(160)), Said(20, 20, bytes(160), 1)]))
    with pytest.raises(Damaged, match="a row names codec 1 of 1"):
        heard.samples(heard.sides(""), KNOWN, 0, 320, 8_000)


@pytest.mark.parametrize("told", [{}, {"call": CALL, "duration_ns": "long", "parties": []}, {"parties": [{}]}])
def test_an_opening_that_is_none_is_damage(told: dict[str, object]) -> None:
    with pytest.raises(Damaged, match="no recording"):
        recording_from(told, lambda *_: b"", dict)
