"""The door's part for days of the draw: shapes, and that all acts of a request are taken or none."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from keeper.at_the_door import client_of
from keeper.days_on_disk import TOMORROW, Site, site, value_of
from keeper.site_on_disk import make_site, running_keeper, wait_until
from mitschnitt.core.beacon import ROLES, commitment_of
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.day_acts import sign_commitment
from mitschnitt.keeper.door import _add_errors
from mitschnitt.keeper.draw_door import add_draw

KEYS = {role: Ed25519PrivateKey.from_private_bytes(role[:2].encode() * 16) for role in ROLES}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[tuple[Site, httpx.Client]]:
    (tmp_path / "roles").mkdir()
    for role, key in KEYS.items():
        (tmp_path / "roles" / f"{role}.ed25519.pub").write_bytes(key.public_key().public_bytes_raw())
    with site(tmp_path) as found:
        app = FastAPI()
        _add_errors(app)
        add_draw(app, found.days, found.backward, tmp_path, lambda: found.now)
        yield found, client_of(app)


def sent(signed: SignedAct) -> dict[str, str]:
    return {
        "act": base64.b64encode(signed.act).decode(),
        "signature": base64.b64encode(signed.signature).decode(),
    }


def commitment(role: str, day: str = "2026-11-27") -> dict[str, str]:
    digest = commitment_of(day, role, value_of(TOMORROW, role))
    return sent(sign_commitment(KEYS[role], role=role, day=day, commitment=digest))


def test_commitments_are_taken_and_the_record_can_be_read(here: tuple[Site, httpx.Client]) -> None:
    days, client = here
    assert client.get("/draw/days/2026-11-27").json()["rule"] == "draw.day.missing"
    for role in ROLES:
        answer = client.post("/draw/commitments", json={"acts": [commitment(role)]})
        assert (answer.status_code, answer.json()) == (201, {"days": ["2026-11-27"]})
    assert client.get("/draw/days/2026-11-27").json() == {"record": days.record(TOMORROW).decode()}


def test_of_several_acts_all_are_taken_or_none(here: tuple[Site, httpx.Client]) -> None:
    days, client = here
    late = commitment("council", "2026-11-26")
    answer = client.post("/draw/commitments", json={"acts": [commitment("council"), late]})
    assert (answer.status_code, answer.json()["rule"]) == (403, "draw.commit.day")
    assert days.shares(TOMORROW) == []


@pytest.mark.parametrize(
    "path, body",
    [
        ("/draw/commitments", {"acts": []}),
        ("/draw/commitments", {"acts": [{"act": "", "signature": ""}] * 101}),
        ("/draw/commitments", {"acts": [{"act": "!", "signature": ""}]}),
        ("/draw/commitments", {"acts": [{"act": "x" * 6_000, "signature": ""}]}),
        ("/draw/reveals", {"acts": [{"act": "e30=", "signature": "e30="}]}),
        ("/draw/rounds", {"round": 0, "signature": ""}),
        ("/draw/rounds", {"round": 1, "signature": "zz"}),
        ("/draw/clock", {"act": "e30=", "signature": "e30="}),
        ("/draw/clock", {}),
    ],
)
def test_a_request_of_another_shape_is_refused(here: tuple[Site, httpx.Client], path: str, body: Any) -> None:
    days, client = here
    before = days.everything()
    assert client.post(path, json=body).status_code == 422
    assert days.everything() == before


def test_a_path_that_is_no_day_is_refused(here: tuple[Site, httpx.Client]) -> None:
    _, client = here
    assert client.get("/draw/days/2026-W48").status_code == 422


def test_a_round_of_another_form_is_refused_by_its_rule(here: tuple[Site, httpx.Client]) -> None:
    _, client = here
    answer = client.post("/draw/rounds", json={"round": 7, "signature": "c0" + "00" * 47})
    assert (answer.status_code, answer.json()["rule"]) == (403, "draw.round.form")
    assert client.get("/draw/rounds").json() == {"chain": "tests", "rounds": []}


@pytest.mark.thorough
def test_a_keeper_that_runs_says_which_days_are_ready(tmp_path: Path) -> None:
    with running_keeper(make_site(tmp_path)) as running:
        wait_until(lambda: running.door("GET", "/draw/days").json()["days"][0]["opened"], what="today to be opened")
        days = running.door("GET", "/draw/days").json()["days"]
        assert {(day["beacon"], day["rule"], len(day["missing"])) for day in days} == {("none", "", 0)}
        assert running.door("GET", "/draw/rounds").json() == {"chain": "quicknet", "rounds": []}
        backward = {"role": "officer", "period": "2020-01", "take": 1}
        assert running.door("POST", "/draw/backward", json=backward).json()["rule"] == "draw.backward.beacon"
