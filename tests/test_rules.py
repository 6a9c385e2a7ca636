"""Every rule that the code names is explained in docs/rules.md, and every rule there is one of the code's."""

from __future__ import annotations

import ast
import re

from source import ROOT, modules

FAMILIES = "access|act|agent|binding|call|client|clock|consent|draw|grant|keeper|keys|parties|policy|role|vault|view"
RULE = re.compile(rf"(?:{FAMILIES})(?:\.[a-z_]+)+")
NOT_RULES = re.compile(r"\.(?:sock|toml|token|key|sqlite)$|^draw\.beacon$")  # names of files; a key of the policy
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
FINDINGS = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")  # what `policy check` finds is explained there
EXPLAINED = re.findall(r"`([a-z_.]+)`", "\n".join(line.split("|")[1] for line in PAGE.splitlines() if "|" in line))
SPOKEN = ("caller", "third")  # the roles for which consent builds its rules
BUILT = re.compile(r"consent\.(?:caller|third)\.")


def rules_in_the_code() -> set[str]:
    texts = {
        node.value
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if RULE.fullmatch(text) and not NOT_RULES.search(text)}


def test_every_rule_of_the_code_is_explained() -> None:
    found = rules_in_the_code() - set(re.findall(r"^\| `(policy\.[a-z_.]+)`", FINDINGS, re.MULTILINE))
    assert {"consent.all", "view.stale", "parties.none"} <= found
    assert found - set(EXPLAINED) == set()


def test_what_parties_say_is_explained_for_callers_and_for_thirds() -> None:
    for ending in ("waiting", "prompt.cut", "prompt.unknown", "refused", "silent"):
        assert {f"consent.{role}.{ending}" for role in SPOKEN} <= set(EXPLAINED)


def test_no_rule_is_explained_twice() -> None:
    assert len(EXPLAINED) == len(set(EXPLAINED))


def test_every_rule_of_core_that_is_explained_still_exists() -> None:
    families = ("consent.", "act.", "parties.", "clock.", "view.")
    own = {rule for rule in EXPLAINED if rule.startswith(families) and not BUILT.match(rule)}
    assert own - rules_in_the_code() == set()
