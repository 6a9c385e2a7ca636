"""On which line a key stands: held against the standard's reader, which knows the keys and not the lines."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.core.toml_lines import MAX_DEPTH, Path, lines_of

CASES: dict[str, tuple[str, dict[Path, int]]] = {
    "nothing": ("", {}),
    "keys between remarks": ("# a = 1\n\na = 1 # b = 2\n\tc=2\n", {("a",): 3, ("c",): 4}),
    "tables": ("[a]\nb = 1\n\n[c]\nb = 1", {("a",): 1, ("a", "b"): 2, ("c",): 4, ("c", "b"): 5}),
    "tables by number": (
        "[[a]]\nb = 1\n[[a]]\nb = 2\n",
        {("a",): 1, ("a", 0): 1, ("a", 0, "b"): 2, ("a", 1): 3, ("a", 1, "b"): 4},
    ),
    "below the newest table": (
        "[[a]]\n[a.b]\nc = 1\n[[a]]\n[[a.d]]\ne = 1",
        {
            ("a",): 1,
            ("a", 0): 1,
            ("a", 0, "b"): 2,
            ("a", 0, "b", "c"): 3,
            ("a", 1): 4,
            ("a", 1, "d"): 5,
            ("a", 1, "d", 0): 5,
            ("a", 1, "d", 0, "e"): 6,
        },
    ),
    "a table after what lies in it": ("[a.b]\n[a]\nc = 1", {("a",): 2, ("a", "b"): 1, ("a", "c"): 3}),
    "dotted and quoted keys": (
        'a . "b.c".\'d\' = 1\n"\\u00e4\\"" = 2',
        {("a",): 1, ("a", "b.c"): 1, ("a", "b.c", "d"): 1, ('ä"',): 2},
    ),
    "text that looks like keys": (
        'a = """\nb = 1\n[c]\n\\""" \\\n"""\nd = \'\'\'\n[[e]]\'\'\'\'\'\nf = "[g] # \\" h = 1"\ni = \'#\'',
        {("a",): 1, ("d",): 6, ("f",): 8, ("i",): 9},
    ),
    "arrays over lines": (
        "a = [ # [b]\n  1,\n  [2, '],'],\n]\nc = 1",
        {("a",): 1, ("a", 0): 2, ("a", 1): 3, ("a", 1, 0): 3, ("a", 1, 1): 3, ("c",): 5},
    ),
    "inline tables": (
        "a = [{b = 1, c.d = '}'},\n{b = 2}]",
        {
            ("a",): 1,
            ("a", 0): 1,
            ("a", 0, "b"): 1,
            ("a", 0, "c"): 1,
            ("a", 0, "c", "d"): 1,
            ("a", 1): 2,
            ("a", 1, "b"): 2,
        },
    ),
    "a date with a blank": ("a = 1979-05-27 07:32:00 # b\nc = -1.5e3", {("a",): 1, ("c",): 2}),
    "line ends of another system": ('a = 1\r\nb = """\r\n"""\r\nc = 1\r\n', {("a",): 1, ("b",): 2, ("c",): 4}),
}


@pytest.mark.parametrize("phrase", CASES)
def test_each_key_has_its_line(phrase: str) -> None:
    text, lines = CASES[phrase]
    assert set(paths(tomllib.loads(text))) == set(lines)
    assert lines_of(text) == lines


@pytest.mark.parametrize(
    "text",
    [
        *("a", "a =", "a = 1 b = 2", "[a", "[[a]", "a = ['1' 2]", "a = {b = 1", 'a = "', 'a = """', "= 1", "a. = 1"),
        *('"\\x" = 1', '"\\uD800\\UFFFFFFFF" = 1', "a = " + "[" * (MAX_DEPTH + 2), "a = " + "[" * 100_000),
    ],
)
def test_what_is_not_understood_has_no_line(text: str) -> None:
    assert lines_of(f"z = 1\n{text}") == {}


def paths(value: Any, above: Path = ()) -> list[Path]:
    """Every path of what the standard's reader read."""
    found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    items = list(found)
    return [(*above, key) for key, _ in items] + [path for key, below in items for path in paths(below, (*above, key))]


KEYS = st.one_of(
    st.sampled_from(["a", "b", "c", "a-b", "1"]),
    st.sampled_from(["a", "b.c", "", "#", "]", "=", 'q"', "ä", "\n"]).map(json.dumps),
    st.sampled_from(["'a'", "'b.c'", "'#['"]),
)
DOTTED = st.lists(KEYS, min_size=1, max_size=3).map(" . ".join)
TEXTS = st.sampled_from(
    [
        *('"a"', "'a'", '"#"', "'['", '"\\""', '"\\\\"', '"""a"""', '"""\na = 1\n[b]\n"""', '"""""a\\""""""'),
        *("'''\n[[a]]\n'''", "'''''''", "1", "-1.5", "true", "inf", "1979-05-27", "07:32:00", "0xff"),
    ]
)


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    gaps = st.sampled_from([" ", "\n", " # ] , }\n", ""])
    arrays = st.builds(
        lambda items, gap: "[" + gap + f",{gap}".join(items) + gap + "]", st.lists(inner, max_size=3), gaps
    )
    pairs = st.builds("{} = {}".format, DOTTED, inner)
    return arrays | st.lists(pairs, max_size=2).map(lambda items: "{ " + ", ".join(items) + " }")


VALUES = st.recursive(TEXTS, containers, max_leaves=5)
STATEMENTS = st.one_of(
    st.builds("[{}]".format, DOTTED),
    st.builds("[[{}]]".format, DOTTED),
    st.builds("{} = {}".format, DOTTED, VALUES),
    st.sampled_from(["", "# a = 1", "  \t"]),
)
DOCUMENTS = st.lists(st.builds("{}{}".format, STATEMENTS, st.sampled_from(["", " ", " # [x]"])), max_size=8)


def read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


@pytest.mark.thorough
@given(DOCUMENTS)
def test_the_same_keys_are_found_as_by_the_standards_reader_and_none_before_its_line(statements: list[str]) -> None:
    text = "\n".join(statements)
    whole, lines = read(text), lines_of(text)
    if whole is None:
        return
    assert set(lines) == set(paths(whole))
    every = text.split("\n")
    for path, line in lines.items():
        before = read("\n".join(every[: line - 1]))
        cut = next((found for end in range(line, len(every) + 1) if (found := read("\n".join(every[:end])))), None)
        assert cut is not None
        assert path in paths(cut)
        # Only a table that is named after what lies in it was there before, and inner lines cannot be read alone.
        assert before is None or path not in paths(before) or every[line - 1].lstrip().startswith("[")


@given(st.text(alphabet="ab=[]{}.,\"'# \n\\1", max_size=60))
def test_no_text_finds_a_key_that_the_standards_reader_does_not(text: str) -> None:
    whole = read(text)
    assert whole is None or set(lines_of(text)) in ({*paths(whole)}, set())


@given(st.text(max_size=80))
def test_any_text_has_lines_or_none(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in lines_of(text).values())
