"""The link: hello first, frames or nothing, one connection per recorder."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.fake_recorder import FakeRecorder, close_all
from keeper.site_on_disk import Running, make_site, running_keeper
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.link import bind_private


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_keeper(make_site(tmp_path_factory.mktemp("link"))) as running:
        yield running


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    close_all()


def test_the_sockets_are_the_owners_alone(keeper: Running) -> None:
    for name in ("keeper.sock", "door.sock"):
        assert stat.S_IMODE((keeper.config.run / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(keeper.config.run.stat().st_mode) == 0o700


def test_a_recorder_gets_its_view_and_then_its_seq(keeper: Running) -> None:
    recorder = FakeRecorder(keeper.config)
    assert recorder.hello() == 1
    view = recorder.receive("view")
    assert view["agents"][0]["id"] == "anna"
    assert "key" not in view["agents"][0]
    recorder.send(type="ack", version=view["version"])
    recorder.send(type="of_a_newer_recorder")
    recorder.lease(3)
    assert len({node for _, _, node in recorder.keys}) == 3
    assert recorder.join("header", "nobody")["rule"] == "call.unmatched"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "lease", "count": 1},
        {"type": "hello", "recorder": 9, "boot": "b", "live": []},
        {"type": "hello", "recorder": True, "boot": "b", "live": []},
        {"type": "hello", "recorder": 1, "boot": "", "live": []},
        {"type": "hello", "recorder": 1, "boot": "b" * 65, "live": []},
        {"type": "hello", "recorder": 1, "boot": "b", "live": "all"},
        {"type": "hello", "recorder": 1, "boot": "b", "live": ["../x"]},
    ],
)
def test_who_does_not_say_hello_properly_is_hung_up_on(keeper: Running, message: dict[str, object]) -> None:
    recorder = FakeRecorder(keeper.config)
    recorder.send(**message)
    assert recorder.hung_up()


@pytest.mark.parametrize(
    "message",
    [
        {"type": "lease", "count": 0},
        {"type": "lease", "count": 5_000},
        {"type": "lease"},
        {"type": "ack", "version": "new"},
        {"type": "arrived", "refs": []},
    ],
)
def test_a_broken_request_ends_the_connection_and_the_recorder_comes_again(
    keeper: Running, message: dict[str, object]
) -> None:
    recorder = FakeRecorder(keeper.config)
    recorder.hello()
    recorder.send(**message)
    assert recorder.hung_up()
    assert recorder.again() >= 1


def test_two_recorders_have_their_own_keys(keeper: Running) -> None:
    one, two = FakeRecorder(keeper.config), FakeRecorder(keeper.config, 2, boot="boot-2")
    one.hello()
    two.hello()
    one.lease(4)
    two.lease(4)
    assert not {key[0] for key in one.keys} & {key[0] for key in two.keys}


def test_a_path_that_is_too_long_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long for a Unix socket"):
        bind_private(tmp_path / ("x" * 120))


@pytest.mark.thorough
def test_a_socket_that_a_dead_keeper_left_is_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        bind_private(tmp_path / "s").close()
    assert (tmp_path / "s").is_socket()
