"""One table of a TOML file, read strictly: each key known, of its kind and within its limits, or one clear sentence.

Knows nothing of what the values mean, and opens no file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, TypeVar

from mitschnitt.core.toml_lines import Path
from mitschnitt.errors import ConfigError

MAX_TEXT_CHARS = 1_000  # of one value: criteria are the longest
MAX_DECIMALS = 12  # of a rate: finer ones cannot be told from 0, and a huge exponent would fill the memory
MAX_FOUND_CHARS = 60  # of a wrong value that is shown
Kind = TypeVar("Kind", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class StrictTable:
    """A table under its heading, with the places of its keys in the file where they are known."""

    file: str
    path: Path
    values: Mapping[str, Any]
    lines: Mapping[Path, int]  # by path, from 1; a key that is missing here is told without its line

    @property
    def heading(self) -> str:
        """As it stands in the file, with its number where there are several."""
        if not self.path:
            return "[top level]"
        name = ".".join(part for part in self.path if isinstance(part, str))
        number = self.path[-1]
        return f"[[{name}]] {number + 1}" if isinstance(number, int) else f"[{name}]"

    def fault(self, key: str, sentence: str) -> ConfigError:
        """The error of this key, with file, line and heading."""
        line = self.lines.get((*self.path, key), self.lines.get(self.path))
        where = f"line {line}: " if line else ""
        return ConfigError(f"{self.file}: {where}{self.heading} {sentence}")

    def only(self, known: Iterable[str]) -> None:
        """ConfigError for a key that is none of these, with the nearest that is."""
        names = sorted(known)
        for key in self.values:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
                meant = f"; nearest is `{near[0]}`" if near else ""
                shown = key[:MAX_FOUND_CHARS]
                raise self.fault(key, f"has the unknown key `{shown}`{meant}; known are {', '.join(names)}")

    def _found(self, key: str) -> str:
        if key not in self.values:
            return "found nothing"
        value = self.values[key]
        words: dict[type, str] = {dict: "a section", list: "a list"}
        return f"found {words.get(type(value)) or _shown(value)}"

    def text(self, key: str, default: str | None = None) -> str:
        """A text of 1 to MAX_TEXT_CHARS characters; the default where the key is missing."""
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise self.fault(key, f"needs `{key}` as text, {self._found(key)}")
        if key in self.values and not 0 < len(value.strip()) <= len(value) <= MAX_TEXT_CHARS:
            raise self.fault(key, f"`{key}` must be a text of 1 to {MAX_TEXT_CHARS} characters, found {len(value)}")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of different texts."""
        value = self.values.get(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
            raise self.fault(key, f"needs `{key}` as a list of texts, {self._found(key)}")
        twice = sorted({item for item in value if list(value).count(item) > 1})
        if twice:
            raise self.fault(key, f"`{key}` names {_shown(twice[0])} twice")
        return tuple(value)

    def flag(self, key: str) -> bool:
        """A switch; off where the key is missing."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.fault(key, f"needs `{key}` as true or false, {self._found(key)}")
        return value

    def whole(self, key: str, *, low: int, high: int, default: int | None = None) -> int:
        """A whole number within its limits."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fault(key, f"needs `{key}` as a whole number, {self._found(key)}")
        if not low <= value <= high:
            raise self.fault(key, f"`{key}` must be {low} to {high}, found {_shown(value)}")
        return value

    def share(self, key: str) -> Fraction:
        """A number from 0 to 1, exactly as it is written."""
        value = self.values.get(key)
        if not isinstance(value, int | Decimal) or isinstance(value, bool):
            raise self.fault(key, f"needs `{key}` as a number from 0 to 1, {self._found(key)}")
        number = Decimal(value)
        if not number.is_finite() or not 0 <= number <= 1:
            raise self.fault(key, f"`{key}` must be 0 to 1, found {_shown(value)}")
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -MAX_DECIMALS:
            raise self.fault(key, f"`{key}` may have {MAX_DECIMALS} digits after the point, found {_shown(value)}")
        return Fraction(number)

    def choice(self, key: str, kinds: type[Kind], default: Kind | None = None) -> Kind:
        """One of the words of an enumeration."""
        value = self.text(key, default)
        if value not in set(kinds):
            raise self.fault(key, f"`{key}` must be one of {', '.join(kinds)}, found {_shown(value)}")
        return kinds(value)

    def section(self, key: str, known: Iterable[str], *, optional: bool = False) -> StrictTable:
        """The table below this key; an empty one where it may be missing."""
        value = self.values.get(key, {} if optional else None)
        if not isinstance(value, dict):
            raise self.fault(key, f"needs `{key}` as a section, {self._found(key)}")
        table = StrictTable(self.file, (*self.path, key), value, self.lines)
        table.only(known)
        return table

    def sections(self, key: str, known: Iterable[str], *, most: int, unique: str = "") -> list[StrictTable]:
        """The tables of a list of tables; `unique` is the key whose text may not come twice."""
        value = self.values.get(key, [])
        if not isinstance(value, list):
            raise self.fault(key, f"needs `{key}` as a list of sections [[{key}]], {self._found(key)}")
        if len(value) > most:
            raise self.fault(key, f"has {len(value)} [[{key}]], at most {most} are read")
        tables, names = [], set()
        for number, item in enumerate(value):
            if not isinstance(item, dict):
                raise self.fault(key, f"[[{key}]] must be a section, found {_shown(item)}")
            table = StrictTable(self.file, (*self.path, key, number), item, self.lines)
            table.only(known)
            if unique and (name := table.text(unique)) in names:
                raise table.fault(unique, f"`{unique}` {_shown(name)} is there twice")
            if unique:
                names.add(name)
            tables.append(table)
        return tables


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 4 * MAX_FOUND_CHARS:
        return "a huge number"  # Python refuses to write some of them
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= MAX_FOUND_CHARS else text[:MAX_FOUND_CHARS] + "…"
