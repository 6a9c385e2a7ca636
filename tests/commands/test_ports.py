"""What is free and what is not, asked of the system and read from its table."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mitschnitt.commands import ports
from mitschnitt.commands.ports import free_port, held_udp_ports, is_free
from mitschnitt.errors import ConfigError

HERE = "127.0.0.1"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROW = "  1: {address} 00000000:0000 07 00000000:00000000 00:00000000 00000000  {user}        0 1 2 0 0\n"
UDP4 = HEAD + ROW.format(address="0100007F:4E20", user=1000) + ROW.format(address="00000000:4E22", user=1001)
UDP6 = HEAD + ROW.format(address="00000000000000000000000001000000:4E24", user=1000)


@pytest.fixture(name="taken", params=[socket.SOCK_STREAM, socket.SOCK_DGRAM])
def hold_a_port(request: pytest.FixtureRequest) -> Iterator[int]:
    with socket.socket(socket.AF_INET, request.param) as holder:
        holder.bind((HERE, 0))
        if request.param is socket.SOCK_STREAM:
            holder.listen()
        yield holder.getsockname()[1]


def test_a_port_that_somebody_holds_is_not_free_and_another_is_proposed(taken: int) -> None:
    assert not is_free(HERE, taken)
    proposed = free_port(HERE, taken)
    assert proposed != taken
    assert is_free(HERE, proposed)
    assert free_port(HERE, proposed) == proposed


def test_only_the_kinds_that_are_asked_for_count() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((HERE, 0))
        port = holder.getsockname()[1]
        assert is_free(HERE, port, (socket.SOCK_STREAM,))
        assert not is_free(HERE, port, (socket.SOCK_DGRAM,))


def test_when_nothing_is_free_the_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda *_: False)
    with pytest.raises(ConfigError, match="15060 on 127.0.0.1 is in use, and none of 50 others is free"):
        free_port(HERE, 15_060)


@pytest.mark.parametrize(
    "host, besides, held",
    [
        ("127.0.0.1", None, {20_000, 20_002}),  # on it, and on every address
        ("127.0.0.2", None, {20_002}),
        ("127.0.0.1", 1000, {20_002}),
        ("::1", None, {20_002, 20_004}),
    ],
)
def test_the_systems_table_is_read_by_address_and_user(
    host: str, besides: int | None, held: set[int], tmp_path: Path
) -> None:
    tables = (tmp_path / "udp", tmp_path / "udp6")
    for table, text in zip(tables, (UDP4, UDP6), strict=True):
        table.write_text(text)
    assert held_udp_ports(host, besides_user=besides, tables=tables) == held


def test_a_machine_without_ipv6_has_one_table_only(tmp_path: Path) -> None:
    (tmp_path / "udp").write_text(UDP4)
    assert held_udp_ports(HERE, tables=(tmp_path / "udp", tmp_path / "udp6")) == {20_000, 20_002}
    with pytest.raises(FileNotFoundError):
        held_udp_ports(HERE, tables=(tmp_path / "nothing",))


def test_a_real_socket_is_found_in_the_real_table() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((HERE, 0))
        port = holder.getsockname()[1]
        assert port in held_udp_ports(HERE)
        assert port not in held_udp_ports(HERE, besides_user=os.getuid())
