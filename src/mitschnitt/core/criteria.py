"""Which stratum or exclusion a call falls in: the policy's expressions (CEL), compiled once. Never `eval`.

Only the facts of `Traits` can be spoken of, and they can be compared, not reckoned with: no loops, patterns or texts
that grow. Only a real `true` counts: an error is an exclusion, never a draw.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType

from cel_expr_python import cel

from mitschnitt.core.policy import Exclusion, Policy, Stratum
from mitschnitt.core.toml_lines import Path
from mitschnitt.errors import ConfigError

UNMATCHED, FAILED, NONE = 65_533, 65_534, 65_535  # exclusions that no policy names: how a call is counted then
EXCLUSION_NAMES = {UNMATCHED: "unmatched", FAILED: "failed", NONE: "none"}
MAX_SAID_CHARS = 200  # of what the library says: it lists all that it would have taken
MAX_WHEN_CHARS = 500  # of one criterion; compiling takes time with the square of its length
VARIABLES = {
    "queue": cel.Type.STRING,
    "direction": cel.Type.STRING,
    "hour": cel.Type.INT,
    "weekday": cel.Type.INT,
    "tenure_days": cel.Type.INT,
}
OPERATORS = ("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_&&_", "_||_", "!_", "_?_:_", "@in")
FUNCTIONS = ("startsWith", "endsWith", "contains")
LANGUAGE = "stdlib:\n  disable_macros: true\n  include_functions:\n" + "".join(
    f'  - name: "{name}"\n' for name in (*OPERATORS, *FUNCTIONS)
)


@dataclass(frozen=True, slots=True)
class Traits:
    """What criteria may speak of, and nothing else of a call. Hours and days are those of the policy's time zone."""

    queue: str
    direction: str
    hour: int  # 0..23
    weekday: int  # 1..7, Monday is 1 (ISO 8601)
    tenure_days: int = -1  # days since the agent began; -1: not known


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a call belongs: exactly one of both is a number."""

    stratum: int | None
    exclusion: int | None


@dataclass(frozen=True, slots=True)
class Criteria:
    """The compiled criteria of one policy."""

    strata: tuple[cel.Expression, ...]
    exclusions: tuple[cel.Expression, ...]

    def place(self, traits: Traits) -> Placed:
        """Exclusions first; the first that holds is it. A criterion that cannot be reckoned excludes the call."""
        facts = asdict(traits)
        for number, expression in enumerate(self.exclusions):
            if (holds := _holds(expression, facts)) is not False:
                return Placed(None, number if holds else FAILED)
        for number, expression in enumerate(self.strata):
            if (holds := _holds(expression, facts)) is not False:
                return Placed(number, None) if holds else Placed(None, FAILED)
        return Placed(None, NONE)


def _holds(expression: cel.Expression, facts: dict[str, str | int]) -> bool | None:
    """True or False as the expression says; None when it says neither: errors come back as values."""
    try:
        value = expression.eval(data=facts).value()
    except RuntimeError:  # a budget of the library is exceeded
        return None
    return value if value is True or value is False else None


def compile_criteria(
    policy: Policy, *, file: str = "policy", lines: Mapping[Path, int] = MappingProxyType({})
) -> Criteria:
    """The policy's criteria, ready for calls; ConfigError names the criterion that is wrong, with line and column.

    `lines` are those of the policy's text (`toml_lines`), for the error only.
    """
    env = cel.NewEnv(config=cel.NewEnvConfigFromYaml(LANGUAGE), variables=VARIABLES)
    found: dict[str, tuple[cel.Expression, ...]] = {}
    criteria: Mapping[str, Sequence[Stratum | Exclusion]] = {"stratum": policy.strata, "exclusion": policy.exclusions}
    for section, items in criteria.items():
        compiled = []
        for number, item in enumerate(items):
            line = lines.get((section, number, "when"))
            where = f"{file}: line {line}: {section} {item.name}" if line else f"{file}: {section} {item.name}"
            compiled.append(_compiled(env, where, item.when))
        found[section] = tuple(compiled)
    return Criteria(found["stratum"], found["exclusion"])


PLACE = re.compile(r"<input>:([0-9]+):([0-9]+): (.*)")


def _compiled(env: cel.Env, where: str, when: str) -> cel.Expression:
    if len(when) > MAX_WHEN_CHARS:
        raise ConfigError(f"{where}: `when` has {len(when)} characters, at most {MAX_WHEN_CHARS} are read")
    try:
        expression = env.compile(when)
    except RuntimeError as error:
        raise ConfigError(f"{where}: {_said(str(error).splitlines())}") from error
    kind = expression.return_type()
    if kind != cel.Type.BOOL:
        raise ConfigError(f"{where}: `when` must be true or false, found {kind.name().lower()}")
    return expression


def _said(lines: Sequence[str]) -> str:
    if any("recursion" in line for line in lines):
        return "`when` is nested too deeply, more than 32 levels"
    for line in lines:
        if match := PLACE.search(line):
            said = match[3].replace(" (in container '')", f"; known are {', '.join((*VARIABLES, *FUNCTIONS))}")
            return f"line {match[1]}, column {match[2]} of `when`: {said[:MAX_SAID_CHARS]}"
    return "`when` is no expression that can be read"
