"""The policy file: one that is right, and everything that makes it wrong."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue import POLICY, POLICY_TEXT, PROMPT_SHA256
from mitschnitt.core.durations import Duration
from mitschnitt.core.policy import PARTIES, Asking, Basis, BeaconKind, Company, Policy, PurposeRule
from mitschnitt.core.policy_text import MAX_POLICY_BYTES, parse_policy
from mitschnitt.core.purpose import TRAINING
from mitschnitt.errors import ConfigError

VECTOR = Path(__file__).parent.parent / "vectors" / "core" / "policy.json"


def changed(old: str, new: str) -> bytes:
    text = POLICY_TEXT.decode()
    assert old in text
    return text.replace(old, new).encode()


def as_json(policy: Policy) -> dict[str, Any]:
    cells = policy.cells
    return {
        "hash": policy.hash,
        "name": policy.name,
        "language": policy.language,
        "languages": list(policy.languages),
        "timezone": policy.timezone,
        "signed_by": list(policy.signed_by),
        "controller": company(policy.controller),
        "processor": company(policy.processor),
        "purpose": policy.purpose,
        "purposes": {rule.id: purpose(rule) for rule in policy.purposes.values()},
        "beacon": policy.beacon.value,
        "strata": [[item.name, item.when, str(item.rate), item.hand_picked, item.announced] for item in policy.strata],
        "exclusions": [[item.name, item.when] for item in policy.exclusions],
        "caps": [policy.caps.agent_week, str(policy.caps.agent_share), str(policy.caps.share)],
        "queues": [[item.id, item.client, item.contact, item.region] for item in policy.queues],
        "cells": [cells.people, cells.calls, [[item.name, list(item.teams), item.parent] for item in cells.groups]],
        "asking": policy.asking.value,
        "window_s": policy.window.total_seconds(),
        "yes": policy.yes,
        "no": policy.no,
        "withdraw": policy.withdraw,
        "pause": policy.pause,
        "prompts": [[item.name, item.language, item.sha256, item.length_ms, item.purpose] for item in policy.prompts],
    }


def company(found: Company | None) -> list[str]:
    assert found is not None
    return [found.name, found.address, found.contact, found.officer_contact]


def purpose(rule: PurposeRule) -> dict[str, Any]:
    return {
        "records": rule.records,
        "retention": [rule.retention.years, rule.retention.months, rule.retention.days],
        "basis": [rule.basis[party].value for party in PARTIES],
        "notice": rule.notice,
        "agreement": rule.agreement,
        "roles": sorted(rule.roles),
    }


def test_the_vector_parses_to_what_it_says() -> None:
    vector = json.loads(VECTOR.read_text(encoding="utf-8"))
    assert as_json(parse_policy(vector["toml"].encode())) == vector["policy"]


def test_a_policy_is_named_by_the_hash_of_its_bytes() -> None:
    assert hashlib.sha256(POLICY_TEXT).hexdigest() == POLICY.hash
    assert parse_policy(POLICY_TEXT + b"# a remark\n").hash != POLICY.hash


def test_what_the_file_says_is_what_applies() -> None:
    assert POLICY.retention == Duration(days=30)
    assert POLICY.window == timedelta(seconds=12)
    assert (POLICY.yes, POLICY.no, POLICY.withdraw, POLICY.pause) == ("1", "2", "*9", "*0")
    assert POLICY.asking is Asking.ANNOUNCED


def test_what_is_left_out_is_the_careful_case() -> None:
    rule = POLICY.purposes[TRAINING]
    assert [rule.basis[party] for party in PARTIES] == [Basis.CONSENT] * 3
    assert (rule.notice, rule.agreement) == ("", "")
    assert (POLICY.cells.people, POLICY.cells.calls, POLICY.cells.groups) == (5, 20, ())
    assert (POLICY.processor, POLICY.exclusions, POLICY.queues) == (None, (), ())
    assert not POLICY.strata[0].hand_picked


def added(text: str) -> bytes:
    return POLICY_TEXT + text.encode()


ASK_ENGLISH = '[[prompt]]\nname = "ask-en"\nlanguage = "en"\nsha256 = "{}"\nlength_ms = 3000\n'
WRONG = {
    "no bytes": (b"", "needs `purpose` as a list of sections|needs exactly one"),
    "not TOML": (b"name = ", "not TOML"),
    "not text": (b"\xff\xfe", "not TOML"),
    "nested beyond reason": (b"a = " + b"[" * 40_000, "not TOML"),
    "a line without end": (b"a" * 4_001 + b" = 1", "a line has 4005 characters, at most 4000"),
    "a key of many parts": (b".".join([b"a"] * 65) + b" = 1", "^policy: .top level. has the unknown key `a`"),
    "too long": (b"#" * (MAX_POLICY_BYTES + 1), "at most 262144"),
    "unknown key at the top": (b"surprise = 1\n" + POLICY_TEXT, "line 1: .top level. has the unknown key `surprise`"),
    "unknown key in asking": (
        changed("window_s = 12", "window_s = 12\nwindows_s = 60"),
        "asking. has the unknown key `windows_s`; nearest is `window_s`",
    ),
    "unknown key in purpose": (
        changed("records = true", "records = true\nretentions = 1"),
        r"\[\[purpose\]\] 1 has the unknown key `retentions`; nearest is `retention`",
    ),
    "unknown key in prompt": (changed('name = "ask-training"', 'name = "ask-training"\nhash = 1'), "key `hash`"),
    "a path from one purpose to another": (
        changed("records = true", 'records = true\nfrom_purpose = "obligation"'),
        "unknown key `from_purpose`",
    ),
    "the old format": (
        changed("[[purpose]]", "[purpose]"),
        r"needs `purpose` as a list of sections .* found a section",
    ),
    "no purpose": (changed("[[purpose]]\n", "[asking2]\n"), "unknown key"),
    "no purpose that records": (changed("records = true\n", ""), "exactly one .* found none"),
    "two purposes that record": (
        added('[[purpose]]\nid = "dispute"\nrecords = true\nretention = "P1D"\n'),
        "exactly one .* found training, dispute",
    ),
    "a purpose twice": (added('[[purpose]]\nid = "training"\nretention = "P1D"\n'), "`id` 'training' is there twice"),
    "a purpose that is built in": (changed('id = "training"', 'id = "accountability"'), "is built in"),
    "a purpose of no name": (changed('id = "training"', 'id = "Training"'), "lower-case letters"),
    "a basis that is none": (changed("records = true", 'records = true\ncaller = "habit"'), "must be one of consent"),
    "a role that does not exist": (changed('["coach"]', '["boss"]'), "must be of caller, agent.* found 'boss'"),
    "a role twice": (changed('["coach"]', '["coach", "coach"]'), "names 'coach' twice"),
    "a rate below 1 without a beacon": (changed("rate = 1", "rate = 0.5"), "only where every rate is 1.* has 1/2"),
    "a rate above 1": (changed("rate = 1", "rate = 1.01"), "must be 0 to 1, found 1.01"),
    "a rate below 0": (changed("rate = 1", "rate = -0.1"), "must be 0 to 1, found -0.1"),
    "a rate that is no number": (changed("rate = 1", "rate = nan"), "must be 0 to 1"),
    "a rate without end": (changed("rate = 1", "rate = -inf"), "must be 0 to 1"),
    "a rate as text": (changed("rate = 1", 'rate = "1.0"'), "needs `rate` as a number from 0 to 1, found '1.0'"),
    "a rate that would fill the memory": (changed("rate = 1", "rate = 1e-999999999"), "12 digits after the point"),
    "a rate beyond all numbers": (changed("rate = 1", "rate = 1e999999999"), "must be 0 to 1"),
    "a rate that cannot be written": (changed("rate = 1", "rate = 0x1" + "0" * 3900), "found a huge number"),
    "retention for ever": (changed("P30D", "P0D"), "whole days"),
    "retention below nothing": (changed("P30D", "-P30D"), "whole days"),
    "retention with a tail": (changed("P30D", "P30DT1H"), "whole days"),
    "retention that is absurd": (changed("P30D", "P31Y"), "at most 30 years"),
    "retention as a number": (changed('"P30D"', "30"), "needs `retention` as text, found 30"),
    "no retention": (changed('retention = "P30D"\n', ""), "needs `retention` as text, found nothing"),
    "a cap below nothing": (added("[caps]\nagent_week = -1\n"), "`agent_week` must be 0 to 10000, found -1"),
    "a cap that is absurd": (added("[caps]\nagent_week = 10001\n"), "must be 0 to 10000"),
    "a share above all": (added("[caps]\nshare = 2\n"), "`share` must be 0 to 1, found 2"),
    "a cap of half a call": (added("[caps]\nagent_week = 1.5\n"), "as a whole number, found 1.5"),
    "a stratum twice": (added('[[stratum]]\nname = "everybody"\nwhen = "true"\nrate = 1\n'), "is there twice"),
    "a stratum without criterion": (changed('when = "true"\n', ""), "needs `when` as text, found nothing"),
    "too many strata": (
        added("".join(f'[[stratum]]\nname = "s{n}"\nwhen = "true"\nrate = 1\n' for n in range(256))),
        "257 .*at most 256",
    ),
    "too many exclusions": (
        added("".join(f'[[exclusion]]\nname = "s{n}"\nwhen = "true"\n' for n in range(257))),
        "257 .*at most 256",
    ),
    "an exclusion twice": (added('[[exclusion]]\nname = "a"\nwhen = "true"\n' * 2), "'a' is there twice"),
    "a name with a line break": (changed('name = "everybody"', r'name = "every\nbody"'), "on one line"),
    "a beacon that is none of ours": (changed('beacon = "none"', 'beacon = "dice"'), "none, commit, drand"),
    "no word on the draw": (changed('[draw]\nbeacon = "none"\n', ""), "needs `draw` as a section, found nothing"),
    "nobody signs": (changed('["officer", "council"]', "[]"), "must name who signs.* found nobody"),
    "somebody signs who may not": (changed('["officer", "council"]', '["coach"]'), "found 'coach'"),
    "a zone that is none": (changed("Europe/Berlin", "Berlin time"), "such as Europe/Berlin"),
    "a zone that climbs": (changed("Europe/Berlin", "../../etc/passwd"), "such as Europe/Berlin"),
    "a language that is none": (changed('language = "de"\nlanguages', 'language = "deutsch"\nlanguages'), "de-AT"),
    "languages without the policy's own": (changed('["de", "en"]', '["en"]'), "must hold the policy's own `de`"),
    "no controller": (changed('[controller]\nname = "Centre Ltd"\n', ""), "needs `controller` as a section"),
    "a queue twice": (added('[[queue]]\nid = "a"\n' * 2), "`id` 'a' is there twice"),
    "a group twice": (added('[[group]]\nname = "a"\n' * 2), "`name` 'a' is there twice"),
    "a group without its parent": (added('[[group]]\nname = "a"\nparent = "b"\n'), "must be the name of a"),
    "a group that is its own parent": (added('[[group]]\nname = "a"\nparent = "a"\n'), "groups form a tree"),
    "groups in a circle": (
        added('[[group]]\nname = "a"\nparent = "b"\n[[group]]\nname = "b"\nparent = "a"\n'),
        "groups form a tree",
    ),
    "a team in two groups": (
        added('[[group]]\nname = "a"\nteams = ["x"]\n[[group]]\nname = "b"\nteams = ["x"]\n'),
        "'x', which is in group a already",
    ),
    "cells of nobody": (added("[cells]\npeople = 0\n"), "`people` must be 1 to"),
    "a window of nothing": (changed("window_s = 12", "window_s = 0"), "1 to 12, found 0"),
    "a window above the limit": (changed("window_s = 12", "window_s = 13"), "1 to 12, found 13"),
    "a window beyond time": (changed("window_s = 12", "window_s = 1000000000000000000"), "1 to 12"),
    "a window that is a switch": (changed("window_s = 12", "window_s = true"), "needs `window_s` as a whole number"),
    "an unknown way of asking": (changed('"announced"', '"silence"'), "announced, asserted"),
    "yes of two digits": (changed('yes = "1"', 'yes = "11"'), "one digit"),
    "yes as a number": (changed('yes = "1"', "yes = 1"), "needs `yes` as text"),
    "yes in another script": (changed('yes = "1"', 'yes = "١"'), "one digit"),
    "yes is no": (changed('no = "2"', 'no = "1"'), "yes and no must differ"),
    "withdrawal by one digit": (changed('withdraw = "*9"', 'withdraw = "9"'), "1 to 3 digits"),
    "withdrawal without digits": (changed('withdraw = "*9"', 'withdraw = "*"'), "1 to 3 digits"),
    "withdraw is pause": (changed('pause = "*0"', 'pause = "*9"'), "neither may begin the other"),
    "withdraw begins pause": (changed('pause = "*0"', 'pause = "*91"'), "neither may begin the other"),
    "pause begins withdraw": (changed('withdraw = "*9"', 'withdraw = "*01"'), "neither may begin the other"),
    "no prompt": (POLICY_TEXT.split(b"[[prompt]]")[0], "at least one"),
    "an empty list of prompts": (b"prompt = []\n" + POLICY_TEXT.split(b"[[prompt]]")[0], "at least one"),
    "prompts that are numbers": (b"prompt = [1]\n" + POLICY_TEXT.split(b"[[prompt]]")[0], "must be a section"),
    "prompts that are texts": (b'prompt = [""]\n' + POLICY_TEXT.split(b"[[prompt]]")[0], "must be a section"),
    "a prompt for no purpose": (changed("length_ms = 4000", 'length_ms = 4000\npurpose = "sales"'), "found 'sales'"),
    "only a prompt for something else": (
        changed("length_ms = 4000", 'length_ms = 4000\npurpose = "other"')
        + b'[[purpose]]\nid = "other"\nretention = "P1D"\n',
        "at least one .* for training is needed",
    ),
    "a prompt twice": (added(ASK_ENGLISH.format("1" * 64) + ASK_ENGLISH.format("2" * 64)), "there twice in en"),
    "one question after two things": (
        added('[[purpose]]\nid = "other"\nretention = "P1D"\n')
        + (ASK_ENGLISH.format(PROMPT_SHA256) + 'purpose = "other"\n').encode(),
        "that of a question after training; ask one by one",
    ),
    "a prompt in a language that is not named": (
        added(ASK_ENGLISH.format("1" * 64).replace('"en"', '"fr"')),
        "must be one of de, en, found 'fr'",
    ),
    "a hash that is none": (changed(PROMPT_SHA256, "5C" * 32), "64 lower-case hex"),
    "a hash that is short": (changed(PROMPT_SHA256, "5c" * 31), "64 lower-case hex"),
    "a prompt too short to be a question": (changed("length_ms = 4000", "length_ms = 999"), "1000 to 120000"),
    "a prompt too long to be heard": (changed("length_ms = 4000", "length_ms = 120001"), "1000 to 120000"),
    "a name that is none": (changed('name = "training, everybody is asked"', "name = 7"), "needs `name` as text"),
}


@pytest.mark.parametrize("phrase", WRONG)
def test_a_policy_that_is_wrong_is_refused_and_told_why(phrase: str) -> None:
    text, sentence = WRONG[phrase]
    with pytest.raises(ConfigError, match=sentence):
        parse_policy(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_a_config_error(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_policy(data)


VALUES = st.one_of(st.integers(), st.booleans(), st.text(max_size=5), st.floats(), st.just([]), st.just({"a": 1}))
NOT_FINITE = {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}
LINES = [line for line in POLICY_TEXT.decode().splitlines() if " = " in line]


@given(st.sampled_from(LINES), VALUES)
def test_any_value_in_any_line_is_a_policy_or_a_config_error(line: str, value: object) -> None:
    key = line.split(" = ")[0]
    text = "{a = 1}" if isinstance(value, dict) else json.dumps(value)
    written = NOT_FINITE.get(text, text)
    try:
        policy = parse_policy(changed(line, f"{key} = {written}"))
    except ConfigError as error:
        told = str(error)
    else:
        told = ""
        assert policy.strata[0].rate == 1 or policy.beacon is not BeaconKind.NONE
        assert timedelta(0) < policy.window <= timedelta(seconds=12)
    assert told == "" or told.startswith("policy: ")
