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

from dialogue import POLICY, POLICY_TEXT, PROMPT_MS, PROMPT_SHA256
from mitschnitt.core.policy import MAX_POLICY_BYTES, SLACK_MS, Asking, Policy, parse_policy
from mitschnitt.errors import ConfigError

VECTOR = Path(__file__).parent.parent / "vectors" / "core" / "policy.json"


def changed(old: str, new: str) -> bytes:
    text = POLICY_TEXT.decode()
    assert old in text
    return text.replace(old, new).encode()


def as_json(policy: Policy) -> dict[str, Any]:
    return {
        "hash": policy.hash,
        "name": policy.name,
        "language": policy.language,
        "purpose": policy.purpose,
        "rate": policy.rate,
        "retention_days": policy.retention.days,
        "asking": policy.asking.value,
        "window_s": policy.window.total_seconds(),
        "yes": policy.yes,
        "no": policy.no,
        "withdraw": policy.withdraw,
        "pause": policy.pause,
        "prompts": [[item.name, item.language, item.sha256, item.length_ms] for item in policy.prompts],
    }


def test_the_vector_parses_to_what_it_says() -> None:
    vector = json.loads(VECTOR.read_text(encoding="utf-8"))
    assert as_json(parse_policy(vector["toml"].encode())) == vector["policy"]


def test_a_policy_is_named_by_the_hash_of_its_bytes() -> None:
    assert hashlib.sha256(POLICY_TEXT).hexdigest() == POLICY.hash
    assert parse_policy(POLICY_TEXT + b"# a remark\n").hash != POLICY.hash


def test_what_the_file_says_is_what_applies() -> None:
    assert POLICY.retention == timedelta(days=30)
    assert POLICY.window == timedelta(seconds=12)
    assert (POLICY.yes, POLICY.no, POLICY.withdraw, POLICY.pause) == ("1", "2", "*9", "*0")
    assert POLICY.asking is Asking.ANNOUNCED


WRONG = {
    "no bytes": (b"", "needs `purpose`"),
    "not TOML": (b"name = ", "not TOML"),
    "not text": (b"\xff\xfe", "not TOML"),
    "nested beyond reason": (b"a = " + b"[" * 40_000, "not TOML"),
    "too long": (b"#" * (MAX_POLICY_BYTES + 1), "at most 262144"),
    "unknown key at the top": (b"surprise = 1\n" + POLICY_TEXT, "unknown key `surprise` in .top level."),
    "unknown key in asking": (changed("window_s = 12", "window_s = 12\nwindows_s = 60"), "unknown key `windows_s`"),
    "unknown key in purpose": (changed("rate = 1.0", "rate = 1.0\nrates = 1.0"), "unknown key `rates`"),
    "unknown key in prompt": (
        changed('name = "ask-training"', 'name = "ask-training"\nhash = 1'),
        "unknown key `hash`",
    ),
    "no purpose": (changed("[purpose]\n", "[asking2]\n"), "unknown key"),
    "a rate that needs the draw": (changed("rate = 1.0", "rate = 0.5"), "must be 1.0, found 0.5"),
    "a rate that is no number": (changed("rate = 1.0", "rate = nan"), "must be 1.0"),
    "a rate as text": (changed("rate = 1.0", 'rate = "1.0"'), "needs `rate` as float"),
    "retention for ever": (changed("P30D", "P0D"), "whole days"),
    "retention in months": (changed("P30D", "P1M"), "whole days"),
    "retention with a tail": (changed("P30D", "P30DT1H"), "whole days"),
    "a window of nothing": (changed("window_s = 12", "window_s = 0"), "1 to 12, found 0"),
    "a window above the limit": (changed("window_s = 12", "window_s = 13"), "1 to 12, found 13"),
    "a window beyond time": (changed("window_s = 12", "window_s = 1000000000000000000"), "1 to 12"),
    "a window that is a switch": (changed("window_s = 12", "window_s = true"), "needs `window_s` as int"),
    "an unknown way of asking": (changed('"announced"', '"silence"'), "announced, asserted"),
    "yes of two digits": (changed('yes = "1"', 'yes = "11"'), "one digit"),
    "yes as a number": (changed('yes = "1"', "yes = 1"), "needs `yes` as str"),
    "yes in another script": (changed('yes = "1"', 'yes = "١"'), "one digit"),
    "yes is no": (changed('no = "2"', 'no = "1"'), "yes and no must differ"),
    "withdrawal by one digit": (changed('withdraw = "*9"', 'withdraw = "9"'), "1 to 3 digits"),
    "withdrawal without digits": (changed('withdraw = "*9"', 'withdraw = "*"'), "1 to 3 digits"),
    "withdraw is pause": (changed('pause = "*0"', 'pause = "*9"'), "neither may begin the other"),
    "withdraw begins pause": (changed('pause = "*0"', 'pause = "*91"'), "neither may begin the other"),
    "pause begins withdraw": (changed('withdraw = "*9"', 'withdraw = "*01"'), "neither may begin the other"),
    "no prompt": (changed("[[prompt]]", "[nothing]").split(b"[nothing]")[0], "needs `prompt` as list"),
    "an empty list of prompts": (b"prompt = []\n" + POLICY_TEXT.split(b"[[prompt]]")[0], "at least one"),
    "prompts that are numbers": (b"prompt = [1]\n" + POLICY_TEXT.split(b"[[prompt]]")[0], "must be a section"),
    "prompts that are texts": (b'prompt = [""]\n' + POLICY_TEXT.split(b"[[prompt]]")[0], "must be a section"),
    "a hash that is none": (changed(PROMPT_SHA256, "5C" * 32), "64 lower-case hex"),
    "a hash that is short": (changed(PROMPT_SHA256, "5c" * 31), "64 lower-case hex"),
    "a prompt too short to be a question": (changed("length_ms = 4000", "length_ms = 999"), "1000 to 120000"),
    "a prompt too long to be heard": (changed("length_ms = 4000", "length_ms = 120001"), "1000 to 120000"),
    "a name that is none": (changed('name = "training, everybody is asked"', "name = 7"), "needs `name` as str"),
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
        assert policy.rate == 1.0
        assert timedelta(0) < policy.window <= timedelta(seconds=12)
    assert told == "" or told.startswith("policy: ")


def test_only_exactly_our_prompt_is_known() -> None:
    assert POLICY.knows_prompt("ask-training", PROMPT_SHA256, PROMPT_MS)
    assert not POLICY.knows_prompt("ask", PROMPT_SHA256, PROMPT_MS)
    assert not POLICY.knows_prompt("ask-training", "00" * 32, PROMPT_MS)


def test_a_length_may_differ_by_two_packets_and_no_more() -> None:
    assert POLICY.knows_prompt("ask-training", PROMPT_SHA256, PROMPT_MS - SLACK_MS)
    assert not POLICY.knows_prompt("ask-training", PROMPT_SHA256, PROMPT_MS - SLACK_MS - 1)


def test_the_prompt_is_in_the_callers_language_or_in_the_policys() -> None:
    english = f'\n[[prompt]]\nname = "ask-en"\nlanguage = "en"\nsha256 = "{"ab" * 32}"\nlength_ms = 3000\n'
    policy = parse_policy(POLICY_TEXT + english.encode())
    assert policy.prompt_for("en").name == "ask-en"
    assert policy.prompt_for("fr").name == "ask-training"
