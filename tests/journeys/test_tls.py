"""A whole site over TLS with our own client: who is let in, and certificates that are exchanged while a call runs.

Debian's sipp has no TLS.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from certificates import Authority, Issued, write_files
from journeys.running import Site, report_rows, running_site
from loopback import own_port
from sip_shells import OPTIONS

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]

PATIENCE_SECONDS = 60.0  # far above what anything takes
FLOOD = 200  # connections of one address, three times what it may have
NOT_REACHABLE = 3  # exit code of the simulated centre
CALLS = ("--mix", "agreed_by_act=1", "--rate", "10", "--max-talk", "3", "--transport", "tls", "--stamp")


@dataclass
class SecureSite:
    """A site that takes TLS alone, and who signs for whom."""

    site: Site
    port: int
    authority: Authority
    root: Path
    report: Path = Path()
    runs: int = 0

    def call(self, own: Issued, *, calls: int = 2, peers: Authority | None = None) -> tuple[int, list[str]]:
        """The centre with this certificate: its exit code, and what became of its calls."""
        started = self.start(own, calls=calls, peers=peers)
        started.communicate(timeout=60)
        return started.returncode, self.outcomes(calls)

    def start(self, own: Issued, *, calls: int, peers: Authority | None = None) -> subprocess.Popen[str]:
        """The centre in the background."""
        self.report = self.root / f"report-{time.monotonic_ns()}.jsonl"
        files = self.root / f"client-{time.monotonic_ns()}"
        write_files(files, own, peers or self.authority, "recorder.example")
        self.runs += 1  # each with ids of its own
        arguments = ("--tls", str(files), "--calls", str(calls), "--report", str(self.report), "--seed", str(self.runs))
        # Of two --recorder the later one counts.
        return self.site.centre("--recorder", f"127.0.0.1:{self.port}", *CALLS, *arguments)

    def wait_renewed(self, times: int) -> None:
        """Until exchanged files have come into force so often."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.site.log.read_text(encoding="utf-8").count("changed TLS files are in force") < times:
            assert time.monotonic() < deadline, self.site.log.read_text(encoding="utf-8")[-2000:]
            time.sleep(0.05)

    def turned_away(self, *causes: str) -> str:
        """What the log says about whom it did not let in, once it has named all these causes."""
        deadline = time.monotonic() + PATIENCE_SECONDS  # it speaks every 10 s at most
        while True:
            said = "\n".join(re.findall(r"SIP turned away: [^\"\n]*", self.site.log.read_text(encoding="utf-8")))
            if all(cause in said for cause in causes):
                return said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def outcomes(self, calls: int) -> list[str]:
        """One word for each call that the centre reports."""
        rows = report_rows(self.report)
        assert len(rows) in (0, calls)
        assert [row["errors"] for row in rows if row.get("errors")] == []
        return [self.site.wait_outcome(str(row["control"])) for row in rows]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureSite]:
    """One site for the whole file."""
    root, port, authority = tmp_path_factory.mktemp("tls"), own_port(), Authority()
    ours = authority.issue("recorder.example")
    lines = ("plain = false", f"tls_port = {port}")
    with running_site(
        root,
        sip=lines,
        before=lambda demo: write_files(demo.directory / "tls", ours, authority, "sbc.example"),
        answers_at=port,
    ) as site:
        yield SecureSite(site, port, authority, root)


def test_row_31_calls_over_tls_are_kept_and_no_plain_port_is_open(secure: SecureSite) -> None:
    code, outcomes = secure.call(secure.authority.issue("sbc.example"))
    assert (code, outcomes) == (0, ["kept", "kept"])
    status = Path(f"/proc/{secure.site.pid('recorder-1')}/net/udp").read_text(encoding="ascii")
    assert f":{secure.site.demo.sip_port:04X} " not in status


@pytest.mark.parametrize(
    "own, signed_by_us",
    [("other.example", True), ("sbc.example", False)],
    ids=["not on the list", "of another CA"],
)
def test_row_31_whoever_is_not_listed_reaches_nobody(own: str, signed_by_us: bool, secure: SecureSite) -> None:
    authority = secure.authority if signed_by_us else Authority("Somebody else's CA")
    code, outcomes = secure.call(authority.issue(own))
    assert (code, outcomes) == (NOT_REACHABLE, [])


def bare(secure: SecureSite, own: Issued | None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What a client of the standard library gets for OPTIONS; nothing when it is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=secure.authority.pem.decode())
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():  # that TLS 1.1 is deprecated is why it is refused
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = min(newest, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = newest
    if own is not None:
        files = write_files(secure.root / f"bare-{time.monotonic_ns()}", own, secure.authority, "anybody")
        context.load_cert_chain(files.certificate, files.key)
    with contextlib.suppress(OSError):  # ssl.SSLError is one
        raw = socket.create_connection(("127.0.0.1", secure.port), PATIENCE_SECONDS)
        with context.wrap_socket(raw) as secured:
            secured.sendall(OPTIONS % 1)
            return secured.recv(4_096)
    return b""


def test_row_31_no_certificate_an_old_version_and_plain_bytes_get_no_answer(secure: SecureSite) -> None:
    listed = secure.authority.issue("sbc.example")
    assert bare(secure, listed).startswith(b"SIP/2.0 200")
    assert bare(secure, listed, ssl.TLSVersion.TLSv1_2).startswith(b"SIP/2.0 200")
    assert bare(secure, None) == b""
    assert bare(secure, secure.authority.issue("sbc.example", days=(-3, -2))) == b""
    assert bare(secure, listed, ssl.TLSVersion.TLSv1_1) == b""
    with (
        socket.create_connection(("127.0.0.1", secure.port), PATIENCE_SECONDS) as plain,
        contextlib.suppress(ConnectionError),
    ):
        plain.sendall(OPTIONS % 1)
        assert b"SIP/2.0" not in plain.recv(4_096)
    said = secure.turned_away("tls.certificate", "tls.version")
    assert "example" not in said, "who it was is nobody's business"


def test_a_flood_of_handshakes_that_never_end_locks_nobody_out(secure: SecureSite) -> None:
    with contextlib.ExitStack() as flood:
        for _ in range(FLOOD):
            idle = flood.enter_context(socket.create_connection(("127.0.0.1", secure.port), PATIENCE_SECONDS))
            idle.sendall(b"\x16\x03\x01")  # as a ClientHello begins
        code, outcomes = secure.call(secure.authority.issue("sbc.example"))
    assert (code, outcomes) == (0, ["kept", "kept"])
    secure.turned_away("limit.connections_per_source")


def test_a_client_does_not_speak_to_a_recorder_of_another_authority(secure: SecureSite) -> None:
    code, outcomes = secure.call(secure.authority.issue("sbc.example"), peers=Authority("Somebody else's CA"))
    assert (code, outcomes) == (NOT_REACHABLE, [])


def test_certificate_and_list_are_exchanged_while_calls_run(secure: SecureSite) -> None:
    running = secure.start(secure.authority.issue("sbc.example"), calls=2)
    for line in running.stdout or ():
        if '"open_labels": ["' in line:
            break
    directory, report = secure.site.demo.directory / "tls", secure.report
    files = write_files(directory, secure.authority.issue("recorder.example"), secure.authority, "sbc.example")
    secure.wait_renewed(1)
    files.clients.write_text("sbc.example\nnew.example\n", encoding="utf-8")
    secure.wait_renewed(2)
    code, outcomes = secure.call(secure.authority.issue("new.example"))
    assert (code, outcomes) == (0, ["kept", "kept"])
    running.communicate(timeout=60)
    assert running.returncode == 0
    secure.report = report
    assert secure.outcomes(2) == ["kept", "kept"]


def test_none_of_it_was_an_error(secure: SecureSite) -> None:
    log = secure.site.log.read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert log.count('"event": "ready"') == 1, "the recorder was started again"
