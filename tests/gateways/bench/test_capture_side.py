from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from array import array
from dataclasses import asdict
from pathlib import Path

import pytest

import mitschnitt
from loopback import rtp_ports, send_all
from mitschnitt.gateways.bench.capture_check import Checked, check_files
from mitschnitt.gateways.bench.capture_side import Options, call_id_of, leaf_key_of


def test_two_streams_are_one_call_and_no_two_share_a_key() -> None:
    assert call_id_of(4) == call_id_of(5) != call_id_of(6)
    assert len({leaf_key_of(stream) for stream in range(10)}) == 10


@pytest.mark.thorough
def test_memory_is_that_of_this_process_alone() -> None:
    told = [sys.executable, "-c", "from mitschnitt.gateways.bench.capture_side import peak_rss_mib as p; print(p())"]
    path = {**os.environ, "PYTHONPATH": str(Path(mitschnitt.__file__).parent.parent)}
    much = bytearray(200 << 20)  # of ours, that a child's ru_maxrss would begin with
    found = float(subprocess.run(told, env=path, check=True, capture_output=True).stdout)
    assert 5 < found < len(much) >> 20


@pytest.mark.thorough
def test_what_is_sent_until_the_input_ends_lies_in_sealed_files(tmp_path: Path) -> None:
    for name in ("journal", "audio"):
        (tmp_path / name).mkdir()
    options = Options(
        directory=str(tmp_path),
        address="127.0.0.1",
        streams=2,
        first_stream=0,
        first_port=rtp_ports()[0],
        last_port=rtp_ports()[1],
        ports_file=str(tmp_path / "ports"),
        finish_threads=1,
        profile=str(tmp_path / "profile"),
    )
    with subprocess.Popen(
        [sys.executable, "-m", "mitschnitt.gateways.bench.capture_side", json.dumps(asdict(options))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(mitschnitt.__file__).parent.parent)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        ports = array("H", (tmp_path / "ports").read_bytes())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for counter in range(3):
                for stream, port in enumerate(ports):
                    body = struct.pack(">II", stream, counter) + bytes([(stream + counter) & 0xFF]) * 152
                    head = struct.pack(">BBHII", 0x80, 8, counter, counter * 160, 1)
                    send_all(sock, [head + body], ("127.0.0.1", port))
        figures = json.loads(process.communicate(timeout=60)[0])
    assert figures["packets_in_files"] == 6
    assert check_files(tmp_path / "audio", range(2), 3) == Checked(packets=6, complete=2, wrong=0)
    assert list((tmp_path / "journal").iterdir()) == []
    assert (tmp_path / "profile").stat().st_size > 0
