"""The two lists of a day of the draw, written once after it: `public.mdl` for anybody, `council.mdl` for the council.

Never rewritten: a second, different list of a day is refused. Blocks for as long as a day has draws; the keeper calls
it beside its loop. What a crash leaves is scratch without a name, or a bundle whose public list the next look writes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine

from mitschnitt.core.draw import day_key
from mitschnitt.core.periods import week_of
from mitschnitt.errors import MitschnittError, NoSpace, NotAllowed, VaultError
from mitschnitt.keeper import draw_list_bundle
from mitschnitt.keeper.days import Days
from mitschnitt.keeper.draw_list_bundle import Bundle
from mitschnitt.keeper.draw_list_header import Header, ListRules, rules_of
from mitschnitt.keeper.draw_list_records import Scratch, SortedById, write_records
from mitschnitt.keeper.policies import Policies
from mitschnitt.store import list_queries
from mitschnitt.store.list_queries import ListDay
from mitschnitt.store.writer import Writer
from mitschnitt.vault.blobs import make_directories, sync_directory

PUBLIC, COUNCIL = "public.mdl", "council.mdl"
MAGIC = {PUBLIC: b"MSDRAWP1", COUNCIL: draw_list_bundle.MAGIC}
MODES = {PUBLIC: 0o644, COUNCIL: 0o600}  # the bundle holds the day's key
NEW_SUFFIX = ".new"
LONGEST_WAIT = timedelta(hours=24)  # after the day, for calls that still run and journals that still come
COPY_BYTES = 1 << 20

log = logging.getLogger("mitschnitt.keeper")


@dataclass(frozen=True, slots=True)
class ListSources:
    """Where a day's facts come from. `beacon` says what `Days.proof_of` says; `settled`: no journal is behind."""

    day_key: Callable[[str], bytes]
    beacon: Callable[[str], Mapping[str, Any]]
    rules: Callable[[str], ListRules]  # of the policy with this hash
    settled: Callable[[], bool]


def list_sources(
    policies: Policies, days: Days, secret: bytes, *, settled: Callable[[], bool] = lambda: True
) -> ListSources:
    """The facts of a running keeper: its policies by hash, its days, the secret of the draw."""
    return ListSources(
        day_key=lambda day: day_key(secret, day),
        beacon=days.proof_of,
        rules=lambda policy_hash: rules_of(policies.get(policy_hash)),
        settled=settled,
    )


class DrawLists:
    """See the module. `directory`: where they are published (`DIR/draw`)."""

    def __init__(self, writer: Writer, reader: Engine, directory: Path, sources: ListSources) -> None:
        self._writer, self._reader = writer, reader
        self._directory = directory
        self._sources = sources
        self._failed: set[str] = set()  # days whose lists could not be written at the last look
        self._settled: set[str] = set()  # days that need no further look: without a beacon, or refused

    def look(self, local: datetime) -> list[str]:
        """Writes the lists of every day that is over at this time in the policy's zone; which were written.

        A day whose lists cannot be written is logged and tried again at the next look; one whose list is refused is
        not. Neither holds another up.
        """
        written = []
        for day in self.due(local):
            try:
                if self.write(day):
                    written.append(day.day)
                else:
                    self._settled.add(day.day)  # a day that is over gets no beacon any more
            except NotAllowed:
                self._settled.add(day.day)
                log.error("a second, different list for a day of the draw is refused")
            except MitschnittError:
                if day.day not in self._failed:  # it is tried again every minute, and said once
                    log.exception("the lists of a day of the draw could not be written")
                self._failed.add(day.day)
        return written

    def due(self, local: datetime) -> list[ListDay]:
        """Days without a list whose calls are all over, or whose end is 24 h ago."""
        with self._reader.connect() as connection:
            before = list_queries.days_before(connection, local.date().isoformat())
            missing = [day for day in before if day.day not in self._settled and not self._has_list(day.day)]
            return [day for day in missing if self._is_over(connection, day.day, local)]

    def _has_list(self, day: str) -> bool:
        return (self._directory / day / PUBLIC).exists()

    def _is_over(self, connection: Connection, day: str, local: datetime) -> bool:
        ended = datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(), local.tzinfo)
        # In UTC: by the clock on the wall a day later may be 23 hours, or 25.
        if local.astimezone(UTC) >= ended.astimezone(UTC) + LONGEST_WAIT:
            return True
        return self._sources.settled() and list_queries.open_outcomes(connection, day) == 0

    def write(self, day: ListDay) -> bool:
        """Writes what is missing of a day's lists; False for a day without a beacon, on which nobody was drawn.

        NotAllowed with `draw.list.second` when the day has another list; NoSpace; VaultError for draws that cannot be.
        """
        beacon = self._sources.beacon(day.day)
        if beacon["value"] is None:
            return False
        # First for good, then told: a crash in between must not make another list of the same day.
        self._writer.submit(lambda connection: list_queries.fail_open_outcomes(connection, day.day)).result()
        folder = self._directory / day.day
        if (folder / COUNCIL).exists() and not (folder / PUBLIC).exists():
            self._finish(day, folder)
            return True
        with _writing(folder), contextlib.ExitStack() as stack:
            make_directories(folder)
            files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(3)]
            council, public, ids = Scratch(files[0]), Scratch(files[1]), SortedById(files[2])
            with self._reader.connect() as connection:
                header = Header(
                    day,
                    beacon,
                    self._sources.rules(day.policy_hash),
                    list_queries.amounts(connection, day.day),
                    whose=list_queries.held(connection, day.day),
                )
                sources = list_queries.sources(connection, day.day)
                lots = list_queries.lots_until(connection, week_of(date.fromisoformat(day.day)), day.day)
                key = self._sources.day_key(day.day)
                blocks = list_queries.draws_in_blocks(connection, day.day)
                if write_records(blocks, sources, key, council, ids) != header.seen:
                    raise VaultError("draws were added to a day while its list was made")
            for block in ids.blocks():
                public.write(block)
            publish(folder / COUNCIL, header.council(council.sha256, key, sources, lots), council)
            publish(folder / PUBLIC, header.public(public.sha256), public)
        return True

    def _finish(self, day: ListDay, folder: Path) -> None:
        """The public list of a bundle that is there: it says what the bundle says, though draws came since."""
        with _writing(folder), contextlib.ExitStack() as stack:
            bundle = Bundle(stack.enter_context((folder / COUNCIL).open("rb")))
            files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(2)]
            public, ids = Scratch(files[0]), SortedById(files[1])
            with self._reader.connect() as connection:
                blocks = list_queries.draws_in_blocks(connection, day.day)
                late = bundle.hand_on(blocks, self._sources.day_key(day.day), ids)
            for block in ids.blocks():
                public.write(block)
            publish(folder / PUBLIC, bundle.public_header(public.sha256), public)
        if late:
            log.error("draws came after the lists of their day were made; they are in no list", extra={"count": late})


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NoSpace(f"the lists of the draw cannot be written to {folder}: {error.strerror}") from error


def publish(path: Path, header: bytes, records: Scratch) -> None:
    """The file appears whole, synced, and never in place of another; one that says the same may be there already."""
    if path.exists():
        _compare(path, header, records)
        return
    new = path.with_name(path.name + NEW_SUFFIX)
    # What a crash left under this name may be the published file itself, by its second name: never write into it.
    new.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, MODES[path.name]), "wb") as file:
        os.fchmod(file.fileno(), MODES[path.name])
        file.write(MAGIC[path.name] + struct.pack(">I", len(header)) + header)
        for block in _blocks(records.file):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    # A link never takes the place of a file; a crash before it leaves the name that the next look writes anew.
    os.link(new, path)
    new.unlink()
    sync_directory(path.parent)


def _compare(path: Path, header: bytes, records: Scratch) -> None:
    """Bundles are compared by their records: units go on being taken after the day, lists are for good."""
    size = records.file.seek(0, os.SEEK_END)
    with path.open("rb") as file:
        there = struct.unpack(">8sI", file.read(12).ljust(12, b"\0"))[1]
        same = path.stat().st_size == 12 + there + size
        if same and path.name == PUBLIC:
            same = file.read(there) == header
        file.seek(12 + there)
        same = same and all(block == file.read(len(block)) for block in _blocks(records.file))
    if not same:
        raise NotAllowed("draw.list.second", "the day has a list already, and this would be another one")


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(COPY_BYTES):
        yield block
