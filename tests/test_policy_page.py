"""docs/policy.md tells of every key, fact, rule and norm of a policy, and of none that is not there."""

from __future__ import annotations

import re

from mitschnitt.core.criteria import EXCLUSION_NAMES, FUNCTIONS, MAX_WHEN_CHARS, OPERATORS, VARIABLES
from mitschnitt.core.policy_check import NORMS, RULES, check_policy
from mitschnitt.core.policy_text import KNOWN_KEYS, MAX_WEEK_DRAWS, MAX_WINDOW, parse_policy
from mitschnitt.core.strict_table import MAX_DECIMALS
from source import ROOT

PAGE = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `\[{0,2}([a-z_.0-9]+)\]{0,2}` \|", re.MULTILINE)


def section(heading: str) -> str:
    """The text below a heading, up to the next."""
    return re.split(r"^#+ ", PAGE.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def heading_of(key: str) -> str:
    if key in ("controller", "processor"):
        return "### [controller] and [processor]"
    headings = re.findall(rf"^### \[{{1,2}}{key}\]{{1,2}}$", PAGE, re.MULTILINE)
    assert len(headings) == 1, key
    return str(headings[0])


def test_every_key_of_the_code_is_on_the_page_in_its_order_and_no_other() -> None:
    for name, keys in KNOWN_KEYS.items():
        heading = heading_of(name) if name else "### Top level"
        assert tuple(ROW.findall(section(heading))) == keys, heading


def test_sections_with_a_number_are_written_so() -> None:
    lists = {"purpose", "stratum", "exclusion", "queue", "group", "prompt"}
    assert {name for name in KNOWN_KEYS if name and heading_of(name).startswith("### [[")} == lists


def test_every_fact_and_function_of_criteria_is_on_the_page() -> None:
    text = section("## Criteria")
    assert ROW.findall(text) == list(VARIABLES)
    assert [name for name in FUNCTIONS if f"`{name}`" not in text] == []
    written = [name.strip("_@").replace("_", " ").split() for name in OPERATORS]
    assert [part for parts in written for part in parts if part not in text] == []
    assert [name for name in EXCLUSION_NAMES.values() if f"`{name}`" not in text] == []
    assert f"At most {MAX_WHEN_CHARS} characters" in text


def test_limits_are_those_of_the_code() -> None:
    assert f"0 to {MAX_WEEK_DRAWS}" in section("### [caps]")
    assert f"1 to {MAX_WINDOW.seconds}" in section("### [asking]")
    assert f"at most {MAX_DECIMALS} digits" in section("### [[stratum]]")


def test_every_rule_is_on_the_page_with_its_article() -> None:
    rows = [line for line in section("## What `policy check` looks for").splitlines() if line.startswith("| `")]
    words = {True: "error", False: "warning"}
    assert rows == [f"| `{rule.name}` | {words[rule.is_error]} | {rule.article} |" for rule in RULES]


def test_every_norm_is_on_the_page() -> None:
    text = section("## What `policy check` looks for")
    assert [name for name, norm in NORMS.items() if f"| {name} | {norm.usual} | {norm.most} |" not in text] == []


def test_the_example_uses_every_key_and_nothing_speaks_against_it() -> None:
    text = (ROOT / "docs" / "policy.example.toml").read_text(encoding="utf-8")
    assert check_policy(parse_policy(text.encode())) == ()
    used = set(re.findall(r"^\[{0,2}([a-z_0-9]+)(?:\]{1,2}$| = )", text, re.MULTILINE))
    assert {key for keys in KNOWN_KEYS.values() for key in keys} - used == set()
