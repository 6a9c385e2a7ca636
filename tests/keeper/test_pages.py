"""Pages at the keeper: the same for every call that is over, and handed to the roles of persons only."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keeper.fake_recorder import Books, stamped
from keeper.site_on_disk import ANNAS_KEY, make_site, open_holdings
from mitschnitt.core.access import ROLES
from mitschnitt.core.call import encode_call_id
from mitschnitt.core.view import Agent
from mitschnitt.errors import Damaged, NotAllowed
from mitschnitt.keeper.apply import Applier
from mitschnitt.keeper.erasing import erase
from mitschnitt.keeper.pages import Pages, pages_in, with_page_key
from mitschnitt.keeper.recovery import recover
from mitschnitt.store.engine import open_reader
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.page import (
    READERS,
    key_of_signer,
    open_page,
    page_size,
    public_of,
    public_of_signer,
    seal_for_nobody,
    seal_page,
)

CALLER, AGENT = bytes([1]) * 32, bytes([2]) * 32
KEPT, REFUSED, UNTOLD, DOUBTED, LOST, LIVE, ERASED = CALLS = [encode_call_id(bytes([n]) * 16) for n in range(1, 8)]
TOLD = {"outcome": "kept"}
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def sealed(call: str, person: str, key: bytes) -> str:
    return base64.b64encode(seal_page(person, call, [public_of(key)], TOLD)).decode()


def reads(pages: Pages, call: str, person: str, key: bytes) -> dict[str, Any] | None:
    try:
        return open_page(key, person, call, pages.page(call, person))
    except Damaged:
        return None


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """What is left after calls of every end; nobody does more than read it."""
    config = make_site(tmp_path_factory.mktemp("pages"))
    with open_holdings(config) as holdings:
        block = holdings.leases.lease(1, "boot", 8)
        books = Books(config, 1, holdings.officer_key)
        for offset, call in enumerate(CALLS):
            at_arrival = {"caller": sealed(call, "caller", CALLER)} if call == LOST else {}
            entry = {
                "index": block.first + offset,
                "block": block.number,
                "sealed": "AAAA",
                "policy": books.policy,
                "pages": at_arrival,
            }
            books.tell(call, "arrived", entry)
            if call in (KEPT, ERASED):
                books.track(call)
                books.media_slice(call, block.nodes[offset], 0, stamped("x", 10))
                books.sealed(call, block.nodes[offset], 0)
        both = {"caller": CALLER, "agent": AGENT}
        for call, keys in ((KEPT, both), (ERASED, both), (REFUSED, {"caller": CALLER}), (DOUBTED, both), (UNTOLD, {})):
            told = {person: sealed(call, person, key) for person, key in keys.items()}
            if call == REFUSED:
                told["agent"] = base64.b64encode(seal_for_nobody("agent", call)).decode()
            books.closed(call, kept=call in (KEPT, ERASED, DOUBTED), pages=told)
        applier = Applier(1, config.journal(1), holdings)
        applier.set_boot("boot")
        applier.drain()
        erase(holdings, ERASED)
        reader = open_reader(config.database)
        yield Pages(reader)
        reader.dispose()


def test_the_persons_of_a_kept_call_read_their_pages(pages: Pages) -> None:
    assert reads(pages, KEPT, "caller", CALLER) == reads(pages, KEPT, "agent", AGENT) == TOLD


@pytest.mark.parametrize("call", [REFUSED, DOUBTED, ERASED])
def test_of_a_call_that_is_not_kept_only_the_caller_reads(pages: Pages, call: str) -> None:
    assert reads(pages, call, "caller", CALLER) == TOLD
    assert reads(pages, call, "agent", AGENT) is None


@pytest.mark.parametrize("person", READERS)
def test_a_call_of_which_no_page_was_told_has_one_that_nobody_opens(pages: Pages, person: str) -> None:
    assert len(pages.page(UNTOLD, person)) == page_size(person)
    assert reads(pages, UNTOLD, person, CALLER) is None


@pytest.mark.parametrize("person", READERS)
@pytest.mark.parametrize("call", [LIVE, LOST])
def test_while_a_call_runs_there_is_nothing_to_read(pages: Pages, person: str, call: str) -> None:
    with pytest.raises(NotAllowed, match="access.page.live"):
        pages.page(call, person)


@pytest.mark.parametrize("role", [*ROLES, "outsider", ""])
def test_pages_are_for_the_roles_of_persons(pages: Pages, role: str) -> None:
    if role in READERS:
        portion = pages.portion(role, "")
        assert {len(one.pop("month")) for one in portion} == {len("2026-11")}
        assert {frozenset(one) for one in portion} == {frozenset({"call", "page"})}
        assert [one["call"] for one in portion] == sorted([KEPT, REFUSED, UNTOLD, DOUBTED, ERASED])
        assert {len(one["page"]) for one in portion} == {len(base64.b64encode(bytes(page_size(role))))}
        assert [one["call"] for one in pages.portion(role, portion[1]["call"])] == [o["call"] for o in portion[2:]]
        return
    rule = "access.page.role" if role in ROLES else "access.role.unknown"
    for ask in (lambda: pages.page(KEPT, role), lambda: pages.portion(role, "")):
        with pytest.raises(NotAllowed, match=rule):
            ask()


def test_a_call_that_never_was_is_unknown(pages: Pages) -> None:
    with pytest.raises(NotAllowed, match="call.unknown"):
        pages.page("0" * 26, "caller")


def test_a_recorder_that_died_leaves_its_calls_the_page_of_their_arrival(tmp_path: Path) -> None:
    config = make_site(tmp_path)
    with open_holdings(config) as holdings:
        block = holdings.leases.lease(1, "boot", 8)
        books = Books(config, 1, holdings.officer_key)
        applier = Applier(1, config.journal(1), holdings)
        applier.set_boot("boot")
        entry = {"index": block.first, "block": block.number, "sealed": "AAAA", "policy": books.policy}
        books.tell(LOST, "arrived", {**entry, "pages": {"caller": sealed(LOST, "caller", CALLER)}})
        recover(applier, holdings, LocalBlobs(config.audio), boot="next", now=NOW)
        reader = open_reader(config.database)
        assert reads(Pages(reader), LOST, "caller", CALLER) == TOLD
        assert reads(Pages(reader), LOST, "agent", AGENT) is None
        reader.dispose()


@pytest.mark.parametrize(
    "data",
    [{}, {"pages": None}, {"pages": {"caller": "?", "agent": 7, "third": "AAAA"}}, {"pages": {"caller": "AAAA"}}],
)
def test_pages_of_another_shape_are_left_out(data: dict[str, Any]) -> None:
    assert pages_in(data) == {}


def test_an_agent_reads_with_the_key_of_the_own_signature_unless_there_is_one_for_reading() -> None:
    public = ANNAS_KEY.public_key().public_bytes_raw()
    anna = Agent("anna", "", "", ("sip:anna@pbx.example.org",), base64.b64encode(public).decode())
    derived = base64.b64decode(with_page_key(anna).page_key)
    assert derived == public_of_signer(public) == public_of(key_of_signer(ANNAS_KEY.private_bytes_raw()))
    own = Agent("anna", "", "", anna.patterns, anna.key, "own")
    assert with_page_key(own) == own
    for broken in ("", "?", "AAAA"):
        agent = Agent("anna", "", "", anna.patterns, broken)
        assert with_page_key(agent) == agent
