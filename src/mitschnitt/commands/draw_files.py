"""Finds the published files that a name means: a period of a site, a folder of lists, or single files.

Opens files and says what is missing; checks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mitschnitt.core.periods import Period, parse_period
from mitschnitt.errors import ConfigError

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
PUBLIC, COUNCIL, RECORD = "public.mdl", "council.mdl", "day.json"


@dataclass(slots=True)
class Found:
    """Files by what they hold, in order; `missing` are days of a period that have no list."""

    lists: list[Path] = field(default_factory=list)
    records: list[Path] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    site: Path | None = None  # whose policies, signatures and keys lie beside the lists

    def take_day(self, folder: Path, *, council: bool) -> bool:
        """The files of one day; whether it has a list."""
        wanted = (PUBLIC, COUNCIL) if council else (PUBLIC,)
        lists = [folder / name for name in wanted if (folder / name).is_file()]
        self.lists += lists
        if (folder / RECORD).is_file():
            self.records.append(folder / RECORD)
        return bool(lists)


def find(names: Sequence[str], directory: Path, *, council: bool) -> Found:
    """What these names mean; ConfigError for one that means nothing, or nothing that has a list."""
    found = Found()
    for name in names:
        path = Path(name)
        if path.is_dir():
            _folder(found, path, council=council)
        elif path.is_file():
            (found.records if path.suffix == ".json" else found.lists).append(path)
        elif path.suffix or "/" in name:
            raise ConfigError(f"draw: there is no file {name}")
        else:
            _period(found, parse_period(name), directory, council=council)
    if not found.lists:
        raise ConfigError(
            f"draw: no list for {', '.join(names)}; a day's list is published when the day and its calls are over"
        )
    return found


def _folder(found: Found, folder: Path, *, council: bool) -> None:
    if found.take_day(folder, council=council):
        return
    root = folder / "draw" if (folder / "draw").is_dir() else folder
    if root != folder:
        found.site = folder
    for day in sorted(root.iterdir()):
        if DAY.fullmatch(day.name) and day.is_dir():
            found.take_day(day, council=council)


def _period(found: Found, period: Period, directory: Path, *, council: bool) -> None:
    found.site = directory
    for day in period.days():
        if not found.take_day(directory / "draw" / day.isoformat(), council=council):
            found.missing.append(day.isoformat())


def policies_of(site: Path, hashes: Iterable[str]) -> Iterator[tuple[Path, list[Path]]]:
    """Each of these policies that lies in the site, with its signatures."""
    for policy_hash in sorted(set(hashes)):
        policy = site / "policy" / f"{policy_hash}.toml"
        if policy.is_file():
            yield policy, sorted(policy.parent.glob(f"{policy_hash}.*.json"))


def keys_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """The public keys of roles in a folder, by role."""
    for path in sorted(folder.glob("*.ed25519.pub")):
        yield path.name.removesuffix(".ed25519.pub"), path


def content(path: Path, most: int = 1 << 20) -> bytes:
    """The bytes of a small file; ConfigError when it cannot be read or is larger than a megabyte."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ConfigError(f"draw: cannot read {path}: {error.strerror}") from error
    if len(data) > most:
        raise ConfigError(f"draw: {path} has more than {most} bytes; expected a policy, signature, key or day record")
    return data
