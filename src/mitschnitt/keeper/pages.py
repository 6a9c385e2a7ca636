"""Pages of persons at the keeper: taken from journals, made for nobody where there is none, handed out sealed.

Opens none. Which pages there are never depends on what became of a call, and neither does their size.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from mitschnitt.core.access import Action, Kept
from mitschnitt.core.view import Agent
from mitschnitt.errors import NotAllowed, VaultError
from mitschnitt.keeper.permission import require
from mitschnitt.keeper.told_times import month_told
from mitschnitt.store import page_queries, queries
from mitschnitt.vault.page import READERS, page_size, public_of_signer, seal_for_nobody

MAX_PAGES = 200  # in one answer: some 600 kB; whoever looks through all of them asks again

T = TypeVar("T")


def pages_in(data: Mapping[str, Any]) -> dict[str, bytes]:
    """Pages of an entry by person; what is missing, or of another size, is left out: it would tell calls apart."""
    told = data.get("pages")
    found = {person: _bytes(told.get(person)) for person in READERS} if isinstance(told, Mapping) else {}
    return {person: page for person, page in found.items() if len(page) == page_size(person)}


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return b""


def with_page_key(agent: Agent) -> Agent:
    """The agent with the key that pages are sealed to: agents.toml's, else the one that belongs to the signing key."""
    if agent.page_key or not agent.key:
        return agent
    try:
        key = public_of_signer(base64.b64decode(agent.key, validate=True))
    except (VaultError, binascii.Error, ValueError):
        return agent
    return replace(agent, page_key=base64.b64encode(key).decode())


def pages_at_end(call: str, told: Mapping[str, bytes], *, agents_read: bool) -> dict[str, bytes]:
    """What is put in place when a call is over: the pages that were told, the agents' only if they may read it."""
    return dict(told) if agents_read and "agent" in told else {**told, "agent": seal_for_nobody("agent", call)}


def write_pages(connection: Connection, call: str, pages: Mapping[str, bytes]) -> None:
    """Pages of a call that is over now; who has none gets one that nobody opens."""
    page_queries.put_pages(connection, call, pages)
    for person in READERS:
        if page_queries.page_of(connection, call, person) is None:
            page_queries.put_pages(connection, call, {person: seal_for_nobody(person, call)})


class Pages:
    """What the door hands out. Methods block; it runs them in threads."""

    def __init__(self, reader: Engine) -> None:
        self._reader = reader

    def page(self, call_id: str, role: str) -> bytes:
        """The sealed page of the person of this role. NotAllowed for other roles, or while the call runs."""
        state = self._ask(lambda connection: queries.state_of(connection, call_id))
        require(role, Action.SEE_PAGE, call=Kept(queries.NOT_KEPT if state is None else state))
        if state is None:
            raise NotAllowed("call.unknown", "no call of that name is known here")
        page = self._ask(lambda connection: page_queries.page_of(connection, call_id, role))
        if page is None:
            raise NotAllowed("access.page.none", "the call is of a time when no pages were made")
        return page

    def portion(self, role: str, after: str) -> list[dict[str, str]]:
        """Up to MAX_PAGES of all calls that are over, by id: [{call, month, page}], the page in base64.

        Whoever asks is nobody yet: with days, all calls would have one by their id, whatever else tells their word.
        """
        require(role, Action.SEE_PAGE, call=Kept(queries.NOT_KEPT))  # of calls that are over: no other is in it
        found = self._ask(lambda connection: page_queries.pages_after(connection, role, after, most=MAX_PAGES))
        return [
            {"call": call, "month": month_told(day), "page": base64.b64encode(page).decode()}
            for call, day, page in found
        ]

    def _ask(self, query: Callable[[Connection], T]) -> T:
        with self._reader.connect() as connection:
            return query(connection)
