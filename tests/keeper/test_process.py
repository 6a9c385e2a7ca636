"""The keeper as a process: a call from its announcement to its erasure, kills in between, and what it refuses."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import mitschnitt
from keeper.fake_recorder import Books, FakeRecorder, close_all, files_with, stamped
from keeper.site_on_disk import (
    OFFICERS_KEY,
    PROMPT_SHA256,
    START,
    Running,
    annas_grant,
    make_site,
    rules_of,
    running_keeper,
    wait_until,
)
from mitschnitt.commands.door_client import Door
from mitschnitt.config import Config, load_config
from mitschnitt.core.call import encode_call_id
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.process import init_keeper_state, opened
from mitschnitt.keeper.site import load_site
from mitschnitt.vault.envelope import open_with, unpad
from played import played


def at(seconds: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def call_id() -> str:
    return encode_call_id(secrets.token_bytes(16))


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_site(tmp_path)


@pytest.fixture
def keeper(config: Config) -> Iterator[Running]:
    with running_keeper(config) as running:
        yield running


def books(recorder: FakeRecorder, next_seq: int = 1) -> Books:
    return Books(recorder.config, recorder.recorder, OFFICERS_KEY.public_key().public_bytes_raw(), next_seq=next_seq)


def announce(keeper: Running, value: str, **more: Any) -> dict[str, Any]:
    body = {
        "refs": [{"kind": "sip_call_id", "value": value}],
        "queue": "q",
        "direction": "inbound",
        "agent": "anna",
    }
    answer = keeper.control("/v1/calls", {**body, **more})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def state(keeper: Running, call: str) -> str:
    answer = keeper.door("GET", f"/calls/{call}", params={"as": "operator"})
    return str(answer.json()["state"]) if answer.is_success else "unknown"


def hear(keeper: Running, call: str, *, purpose: str = "training", role: str = "coach") -> httpx.Response:
    """The answer to somebody who may not hear this call for this purpose."""
    return keeper.door("POST", f"/calls/{call}/playbacks", json={"purpose": purpose, "role": role})


def payload(keeper: Running, call: str, party: int = 0) -> bytes:
    """What the coach hears of one party."""
    return {one.party: one.payload for one in played(Door(keeper.config.directory), call)}[party]


def keep_call(keeper: Running, recorder: FakeRecorder, journal: Books, text: str, call: str = "") -> str:
    """A call that ends well, with one second of both parties."""
    call = call or call_id()
    index, block, node = recorder.keys.popleft()
    journal.arrived(call, index, block)
    for party, role in ((0, "caller"), (1, "agent")):
        journal.track(call, party, role)
        journal.media_slice(call, node, party, stamped(f"{text}-{party}"))
        journal.sealed(call, node, party)
    journal.closed(call, kept=True)
    recorder.send(type="poke")
    wait_until(lambda: state(keeper, call) == "kept", what="the call to be kept")
    return call


@pytest.mark.journey
def test_a_call_is_announced_answered_kept_played_and_destroyed(keeper: Running) -> None:
    recorder = FakeRecorder(keeper.config)
    next_seq = recorder.hello()
    assert recorder.receive("view")["grants"][0]["agent"] == "anna"
    recorder.lease()
    journal = books(recorder, next_seq)

    told = announce(keeper, "leg-1@pbx")
    call, ask = told["call"], told["ask"]
    assert (ask["prompt"], ask["yes"], ask["window_s"]) == ("ask-training", "1", 12)
    asked = {
        "party": "caller", "prompt": ask["prompt"], "sha256": PROMPT_SHA256, "language": "de",
        "from": at(-5), "to": at(-1), "played_ms": 4_000, "length_ms": 4_000,
    }  # fmt: skip
    assert keeper.control(f"/v1/calls/{call}/asked", asked).status_code == 202
    joined = recorder.join("sip_call_id", "leg-1@pbx")
    assert (joined["call"], joined["agent"], len(joined["asked"])) == (call, "anna", 1)
    yes = {"party": "caller", "kind": "digit", "value": "1", "at": at()}
    assert keeper.control(f"/v1/calls/{call}/acts", yes).status_code == 202
    act = recorder.receive("act")
    assert (act["call"], act["value"], act["kind"]) == (call, "1", "digit")

    keep_call(keeper, recorder, journal, "agreed", call)
    shown = keeper.door("GET", f"/calls/{call}", params={"as": "coach"}).json()
    assert [(party["party"], party["role"], party["reason"]) for party in shown["parties"]] == [
        (0, "caller", "ended"),
        (1, "agent", "ended"),
    ]
    assert payload(keeper, call, 0) == stamped("agreed-0")
    assert payload(keeper, call, 1) == stamped("agreed-1")
    assert hear(keeper, call, role="operator").json()["rule"] == "access.role.purpose"
    assert hear(keeper, call, purpose="dispute").json()["rule"] == "access.role.purpose"

    assert keeper.door("POST", f"/calls/{call}/erase", json={"role": "operator"}).status_code == 403
    assert keeper.door("POST", f"/calls/{call}/erase", json={"role": "officer"}).is_success
    assert state(keeper, call) == "not_kept"
    assert hear(keeper, call).json()["rule"] == "access.not_kept"
    assert list(keeper.config.audio.iterdir()) == []
    assert keeper.stop() == 0


@pytest.mark.journey
def test_calls_that_are_not_kept_answer_alike_whatever_the_reason(keeper: Running) -> None:
    recorder = FakeRecorder(keeper.config)
    journal = books(recorder, recorder.hello())
    recorder.lease()
    refused, withdrew, keyless, erased = (call_id() for _ in range(4))
    index, block, _ = recorder.keys.popleft()
    journal.arrived(refused, index, block)
    journal.closed(refused, kept=False)
    index, block, node = recorder.keys.popleft()
    journal.arrived(withdrew, index, block)
    journal.track(withdrew)
    journal.media_slice(withdrew, node, 0, stamped("gone"))
    journal.shred(withdrew)
    journal.closed(withdrew, kept=False)
    journal.closed(keyless, kept=False)
    keep_call(keeper, recorder, journal, "kept", erased)
    keeper.door("POST", f"/calls/{erased}/erase", json={"role": "officer"})

    seen = set()
    for call in (refused, withdrew, keyless, erased):
        wait_until(lambda it=call: state(keeper, it) == "not_kept", what="a call to be closed")
        told = [keeper.door("GET", f"/calls/{call}", params={"as": role}) for role in ("operator", "coach", "officer")]
        told += [keeper.door("GET", f"/calls/{call}/decision", params={"as": "operator"})]
        told += [hear(keeper, call), hear(keeper, call, role="operator")]
        seen.add(tuple((answer.status_code, answer.text.replace(call, "CALL")) for answer in told))
    assert len(seen) == 1
    sizes = {
        len(keeper.door("GET", f"/calls/{call}/decision", params={"as": "officer"}).content)
        for call in (refused, withdrew, keyless, erased)
    }
    assert len(sizes) == 1


@pytest.mark.journey
def test_the_officer_opens_a_decision_with_the_own_key(keeper: Running) -> None:
    recorder = FakeRecorder(keeper.config)
    journal = books(recorder, recorder.hello())
    call = call_id()
    journal.closed(call, kept=False)
    recorder.send(type="poke")
    wait_until(lambda: state(keeper, call) == "not_kept", what="the call to be closed")
    answer = keeper.door("GET", f"/calls/{call}/decision", params={"as": "officer"}).json()
    opened = open_with(
        OFFICERS_KEY.private_bytes_raw(),
        base64.b64decode(answer["decision"]),
        context=b"mitschnitt/v1/decision/" + call.encode(),
    )
    assert json.loads(unpad(opened))["rule"] == "test.rule"


@pytest.mark.journey
def test_nothing_acknowledged_is_lost_when_the_keeper_is_killed(config: Config) -> None:
    with running_keeper(config) as keeper:
        recorder = FakeRecorder(config)
        journal = books(recorder, recorder.hello())
        recorder.lease()
        kept = keep_call(keeper, recorder, journal, "before")
        withdrew, running = call_id(), call_id()
        index, block, node = recorder.keys.popleft()
        journal.arrived(withdrew, index, block)
        journal.track(withdrew)
        index, block, other = recorder.keys.popleft()
        journal.arrived(running, index, block)
        journal.track(running)
        recorder.send(type="poke")
        wait_until(lambda: state(keeper, running) == "live", what="the call to arrive")
        keeper.kill()
    # The recorder goes on without the keeper: a withdrawal and the end of a call go into its journal.
    journal.media_slice(withdrew, node, 0, stamped("withdrew"))
    journal.shred(withdrew)
    journal.media_slice(running, other, 0, stamped("running"))
    journal.sealed(running, other, 0)
    journal.closed(running, kept=True)
    with running_keeper(config) as keeper:
        recorder.again(withdrew)
        wait_until(lambda: state(keeper, running) == "kept", what="the journal to be applied")
        assert payload(keeper, kept) == stamped("before-0")
        assert payload(keeper, running) == stamped("running")
        assert state(keeper, withdrew) == "live"
        journal.closed(withdrew, kept=True)  # even if a recorder were wrong about it
        recorder.send(type="poke")
        wait_until(lambda: state(keeper, withdrew) == "not_kept", what="the withdrawn call to be closed")
        # The recorder of the same boot goes on with the keys that it has.
        keep_call(keeper, recorder, journal, "after")
        assert keeper.stop() == 0


@pytest.mark.journey
def test_a_recorder_that_died_leaves_truncated_calls_and_nothing_of_the_others(config: Config) -> None:
    with running_keeper(config) as keeper:
        recorder = FakeRecorder(config)
        journal = books(recorder, recorder.hello())
        recorder.lease()
        spare = recorder.keys[-1]
        agreed, asked, withdrew = call_id(), call_id(), call_id()
        for call in (agreed, asked, withdrew):
            index, block, node = recorder.keys.popleft()
            journal.arrived(call, index, block)
            if call != asked:
                journal.track(call)
                journal.media_slice(call, node, 0, stamped("one"))
                journal.media_slice(call, node, 0, stamped("two"))
            if call == agreed:
                journal.track(call, 1, "agent")  # said nothing yet
                journal.finish(call, node, 0)  # died between its files and its entry
        journal.shred(withdrew)
        recorder.close()
        again = FakeRecorder(config, boot="boot-2")
        next_seq = again.hello()
        assert next_seq == journal.writer.next_seq
        assert state(keeper, agreed) == "kept"
        assert [state(keeper, call) for call in (asked, withdrew)] == ["not_kept"] * 2
        shown = keeper.door("GET", f"/calls/{agreed}", params={"as": "coach"}).json()
        assert [(party["party"], party["reason"]) for party in shown["parties"]] == [(0, "truncated")]
        (heard,) = played(Door(config.directory), agreed)
        assert heard.payload == stamped("one") + stamped("two")
        assert heard.counted["reason"] == "truncated"
        assert list(config.journal(1).glob("*.sec")) == []
        # A key of the former life opens nothing new.
        fresh = books(again, next_seq)
        late = call_id()
        fresh.arrived(late, spare[0], spare[1])
        fresh.track(late)
        fresh.closed(late, kept=True)
        again.send(type="poke")
        wait_until(lambda: state(keeper, late) == "not_kept", what="the call with an old key to be closed")
        again.lease()
        assert min(key[0] for key in again.keys) > spare[0]
        assert files_with(config.directory.parent, b'["one"') == []


@pytest.mark.journey
def test_a_posted_withdrawal_punctures_though_the_recorder_is_silent(keeper: Running) -> None:
    recorder = FakeRecorder(keeper.config)
    journal = books(recorder, recorder.hello())
    recorder.lease()
    call = announce(keeper, "leg-1@pbx")["call"]
    recorder.join("sip_call_id", "leg-1@pbx")
    index, block, node = recorder.keys.popleft()
    journal.arrived(call, index, block)
    journal.track(call)
    journal.media_slice(call, node, 0, stamped("said"))
    epoch = keeper.door("GET", "/status").json()["epoch"]
    withdraw = {"party": "caller", "kind": "withdraw", "value": "", "at": at()}
    assert keeper.control(f"/v1/calls/{call}/acts", withdraw).status_code == 202
    assert recorder.receive("withdraw")["party"] == "caller"
    assert keeper.door("GET", "/status").json()["epoch"] > epoch
    # A recorder that seals and says `kept` all the same: its files go, its word counts for nothing.
    journal.sealed(call, node, 0)
    journal.closed(call, kept=True)
    recorder.send(type="poke")
    wait_until(lambda: state(keeper, call) == "not_kept", what="the call to be closed")
    assert list(keeper.config.audio.iterdir()) == []


@pytest.mark.journey
def test_consent_is_taken_back_as_long_as_the_recording_is_there(keeper: Running) -> None:
    recorder = FakeRecorder(keeper.config)
    journal = books(recorder, recorder.hello())
    recorder.lease()
    call = announce(keeper, "leg-1@pbx")["call"]
    recorder.join("sip_call_id", "leg-1@pbx")
    keep_call(keeper, recorder, journal, "said", call)
    recorder.send(type="ended", call=call)
    act = {"party": "caller", "kind": "digit", "value": "1", "at": at()}
    wait_until(
        lambda: keeper.control(f"/v1/calls/{call}/acts", act).status_code == 404,
        what="the call to be forgotten",
    )
    withdraw = {"party": "caller", "kind": "withdraw", "value": "", "at": at()}
    assert keeper.control(f"/v1/calls/{call}/acts", withdraw).status_code == 202
    assert state(keeper, call) == "not_kept"
    gone, never = (keeper.control(f"/v1/calls/{name}/acts", withdraw) for name in (call, call_id()))
    assert (gone.status_code, gone.text) == (never.status_code, never.text)
    assert gone.status_code == 404


@pytest.mark.journey
def test_a_grant_at_the_door_is_in_every_view_at_once(keeper: Running) -> None:
    recorder = FakeRecorder(keeper.config)
    recorder.hello()
    before = recorder.receive("view")["version"]
    at = datetime.now(UTC)
    act = annas_grant(30, granted_at=at)
    body = {"act": base64.b64encode(act.act).decode(), "signature": base64.b64encode(act.signature).decode()}
    assert keeper.door("POST", "/grants", json=body).status_code == 201
    # Views of one version may be told several times: with another day, or another allowance.
    views = iter(lambda: recorder.receive("view"), None)
    view = next(view for view in views if view["version"] != before)
    assert view["version"] == before + 1
    assert [grant["granted_at"] for grant in view["grants"]] == [
        at.isoformat()
    ]  # a view tells the newest of each agent
    forged = {**body, "signature": base64.b64encode(bytes(64)).decode()}
    assert keeper.door("POST", "/grants", json=forged).json()["rule"] == "grant.signature"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.journey
def test_figures_and_readiness_are_served_and_a_drain_reaches_every_recorder(keeper: Running) -> None:
    place = f"http://127.0.0.1:{keeper.config.metrics.port}"
    with httpx.Client(trust_env=False, timeout=60) as http:
        wait_until(lambda: _listens(keeper.config.metrics.port), what="figures to be served")
        waiting = http.get(f"{place}/readyz")
        assert (waiting.status_code, waiting.json()["reasons"]) == (503, ["recorders_missing"])
        assert http.get(f"{place}/healthz").json()["alive"]
        shown = http.get(f"{place}/metrics").text
        assert 'mitschnitt_keeper_calls_closed_total{outcome="not_kept"} 0.0\n' in shown
        assert 'mitschnitt_keeper_recorder_ready{recorder="2"} 0.0\n' in shown
        recorder = FakeRecorder(keeper.config)
        recorder.hello()
        assert keeper.door("POST", "/drain", json={"role": "coach"}).status_code == 403
        told = keeper.door("POST", "/drain", json={"role": "operator", "within_s": 600}).json()
        assert told == {"draining": True, "running": 0, "left_s": 600}
        assert recorder.receive("drain")["within_s"] <= 600
        recorder.send(type="draining", running=3, left_s=599.0)
        wait_until(lambda: keeper.door("GET", "/drain").json()["running"] == 3, what="the count of running calls")
        later = FakeRecorder(keeper.config, 2)
        later.hello()
        assert later.receive("drain")["within_s"] <= 600
        assert "draining" in http.get(f"{place}/readyz").json()["reasons"]


@pytest.mark.journey
def test_logs_are_json_without_anything_of_a_call(keeper: Running) -> None:
    recorder = FakeRecorder(keeper.config)
    journal = books(recorder, recorder.hello())
    recorder.lease()
    call = announce(keeper, "secret-leg@pbx")["call"]
    recorder.join("sip_call_id", "secret-leg@pbx")
    keep_call(keeper, recorder, journal, "x", call)
    keeper.control(f"/v1/calls/{call}/acts", {"kind": "digit"})
    recorder.send(type="lease", count=10**9)
    assert recorder.hung_up()
    assert keeper.stop() == 0
    text = keeper.log.read_text()
    assert [json.loads(line)["part"] for line in text.splitlines()]
    for secret in (call, "secret-leg", "anna", "consent."):
        assert secret not in text


def open_and_close(config: Config) -> None:
    rules = rules_of(config)
    with opened(config, load_site(config, rules.current.policy), rules):
        pass


def _lose_database(config: Config) -> None:
    (config.audio / "ab").mkdir()
    config.database.unlink()


def _lose_tree(config: Config) -> None:
    for copy in config.state_copies:
        copy.unlink()


def _lose_keks(config: Config) -> None:
    for path in config.kek_dir.iterdir():
        path.unlink()


def _sign_nothing(config: Config) -> None:
    path = config.directory / "config.toml"
    path.write_text(path.read_text().replace("allow_unsigned_policy = true", "allow_unsigned_policy = false"))


def _open_secrets(config: Config) -> None:
    (config.directory / "secrets" / "control.token").chmod(0o644)


@pytest.mark.parametrize(
    "spoil, says",
    [
        (_lose_database, "is missing beside audio"),
        (_lose_tree, "no copy of the key tree opens"),
        (_lose_keks, "no copy of the key tree opens"),
        (_sign_nothing, "officer has not signed it .*; next: `mitschnitt policy key --as officer --out FILE --dir "),
        (_open_secrets, "mode 0644, expected 0600"),
        (lambda config: config.kek_dir.chmod(0o755), "mode 0755, expected 0700"),
        (lambda config: config.directory.chmod(0o755), "mode 0755, expected 0700"),
        (lambda config: config.audio.rmdir(), "a lost mount must not look like an empty vault"),
        (
            lambda config: (config.directory / "secrets" / "officer.x25519.pub").write_bytes(b"x"),
            "has 1 bytes",
        ),
    ],
)
def test_the_keeper_refuses_to_start_and_says_why(config: Config, spoil: Any, says: str) -> None:
    spoil(config)
    before = sorted(config.directory.parent.rglob("*"))
    again = load_config(config.directory)
    with pytest.raises(ConfigError, match=says):
        open_and_close(again)
    assert sorted(config.directory.parent.rglob("*")) == before


@pytest.mark.journey
def test_a_refusal_ends_the_process_before_it_listens(config: Config) -> None:
    _lose_tree(config)
    environment = {**os.environ, "PYTHONPATH": str(Path(mitschnitt.__file__).parents[1])}
    command = [sys.executable, "-c", START, str(config.directory)]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60)
    assert done.returncode == 1
    assert b"no copy of the key tree opens" in done.stderr
    assert list(config.run.iterdir()) == []


def test_a_second_init_is_refused(config: Config) -> None:
    with pytest.raises(ConfigError, match="a second database would hide the first"):
        init_keeper_state(config)
    config.database.unlink()
    (config.directory / "secrets" / "control.token").unlink()
    with pytest.raises(ConfigError, match="there is a key tree already"):
        init_keeper_state(config)
    assert not config.database.exists()


def test_the_kek_may_not_lie_inside_the_data_directory(tmp_path: Path) -> None:
    config = make_site(tmp_path)
    path = config.directory / "config.toml"
    path.write_text(path.read_text().replace("[keys]", f'[keys]\nkek_dir = "{config.directory}/keys"'))
    with pytest.raises(ConfigError, match="must lie outside"):
        load_config(config.directory)
