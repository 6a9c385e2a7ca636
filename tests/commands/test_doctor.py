"""`doctor`: each check finds a good site good, and says what is wrong with a bad one and what to do."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from certificates import Authority, write_files
from commands.keeper_stub import StubDoor
from loopback import own_port, rtp_ports
from mitschnitt.commands import doctor
from mitschnitt.commands.demo_site import prepare
from mitschnitt.commands.doctor import BAD, GOOD, WARN, Finding
from mitschnitt.commands.door_client import NotReachable
from mitschnitt.config import load_config
from mitschnitt.recorder.tls import TlsFiles
from ring_rig import needs_ring

HOST = "127.0.0.1"
STATUS = {"recorders": 1, "agents": 6, "no_core": True, "not_dumpable": True, "memory_locked": True, "swap_off": True}
FIRST = rtp_ports()[0]
LAST = FIRST + 99  # 50 pairs


@dataclass
class Patient:
    """A site, and what its keeper says."""

    directory: Path
    door: StubDoor

    def examine(self, subject: str) -> list[Finding]:
        """What is found about one subject."""
        return [finding for finding in doctor.examine(self.directory) if finding.subject == subject]

    def one(self, subject: str) -> Finding:
        [finding] = self.examine(subject)
        return finding

    def configure(self, old: str, new: str) -> None:
        path = self.directory / "config.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def serves(self) -> None:
        """From now on a keeper answers."""
        self.door.answers[("GET", "/status")] = dict(STATUS)

    def recorder_is(self, pid: object) -> None:
        (self.directory / "run" / "recorder-1.pid").write_text(f"{pid}\n")
        (self.directory / "run" / "recorder-1.pid").chmod(0o600)


@pytest.fixture(scope="module", name="healthy")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("doctor") / "site"
    prepare(
        root,
        sip_port=own_port(),
        control_port=own_port(),
        first_rtp_port=FIRST,
        last_rtp_port=LAST,
    )
    return root


@pytest.fixture(name="patient")
def a_copy(healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Patient:
    for name in ("site", "site.keys", "site.officer"):
        shutil.copytree(healthy.with_name(name), tmp_path / name)
    (tmp_path / "swaps").write_text("Filename Type Size Used Priority\n")
    monkeypatch.setattr(doctor, "SWAPS", tmp_path / "swaps")
    door = StubDoor({("GET", "/status"): NotReachable("there is no door.sock; is `mitschnitt serve` running?")})
    door.behind(monkeypatch, doctor)
    return Patient(tmp_path / "site", door)


@contextmanager
def holding(port: int, kind: socket.SocketKind) -> Iterator[None]:
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((HOST, port))
        if kind is socket.SOCK_STREAM:
            holder.listen()
        yield


def test_a_fresh_site_has_nothing_bad_and_every_warning_says_what_to_do(patient: Patient) -> None:
    findings = doctor.examine(patient.directory)
    assert [finding for finding in findings if finding.level == BAD] == []
    assert len(findings) >= len(doctor.CHECKS)
    assert [finding for finding in findings if finding.level != GOOD and not finding.todo] == []
    assert doctor.run(patient.directory, as_json=False) == 0


def test_what_is_bad_makes_the_exit_code_and_is_told_in_words_and_in_json(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    patient.configure("allow_unsigned_policy = true", "allow_unsigned_policy = false")
    assert doctor.run(patient.directory, as_json=False) == 1
    told = capsys.readouterr().out
    # As plain text: a section's name must not vanish as markup, and no sentence is broken.
    needed = f"`mitschnitt policy key --as officer --out FILE --dir {patient.directory}`"
    assert f"officer has not signed it [policy.signature.missing]; next: {needed}\n" in told
    assert "     -> `mitschnitt serve` does not start until this is mended\n" in told
    assert doctor.run(patient.directory, as_json=True) == 1
    findings = json.loads(capsys.readouterr().out)
    assert [item["subject"] for item in findings if item["level"] == BAD] == ["policy"]


def test_without_a_configuration_there_is_one_finding(patient: Patient) -> None:
    [missing] = doctor.examine(patient.directory.parent)
    assert (missing.level, missing.subject) == (BAD, "configuration")
    patient.configure("[gate]", "[goat]")
    [wrong] = doctor.examine(patient.directory)
    assert "unknown section [goat]" in wrong.found


@pytest.mark.parametrize("place", [".", "agents.toml", "secrets/control.token", "db/domain.sqlite", "../site.keys"])
def test_a_place_that_others_can_reach_is_bad(place: str, patient: Patient) -> None:
    assert patient.one("file modes").level == GOOD
    path = (patient.directory / place).resolve()
    path.chmod(path.stat().st_mode | 0o040)
    found = patient.one("file modes")
    assert found.level == BAD
    assert f"others can reach {path}" in found.found
    subprocess.run(found.todo.split(), check=True)
    assert patient.one("file modes").level == GOOD


def test_what_cannot_be_looked_at_is_a_finding_and_no_crash(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_path: Path) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", "/srv/site")

    monkeypatch.setattr(shutil, "disk_usage", closed)
    found = patient.one("disk")
    assert found.level == BAD
    assert found.found == "cannot be looked at: /srv/site Permission denied"
    assert "as the user of `mitschnitt serve`" in found.todo


def test_an_unsigned_policy_that_a_switch_lets_through_is_a_warning(patient: Patient) -> None:
    found = patient.one("policy")
    assert found.level == WARN
    assert "used unsigned ([gate] allow_unsigned_policy)" in found.found


def test_a_changed_policy_is_bad(patient: Patient) -> None:
    digest = (patient.directory / "policy" / "active").read_text().strip()
    policy = patient.directory / "policy" / f"{digest}.toml"
    policy.write_text(policy.read_text().replace("P30D", "P60D"))
    found = patient.one("policy")
    assert found.level == BAD
    assert "was changed" in found.found


def test_agents_are_counted_and_none_is_a_warning(patient: Patient) -> None:
    assert patient.one("agents").level == GOOD
    (patient.directory / "agents.toml").write_text("")
    assert patient.one("agents").level == WARN
    (patient.directory / "agents.toml").write_text("[[agent]]\nid = 1\n")
    assert patient.one("site files").level == BAD


def test_a_token_that_is_gone_is_bad(patient: Patient) -> None:
    (patient.directory / "secrets" / "control.token").unlink()
    found = patient.one("site files")
    assert found.level == BAD
    assert "control token" in found.found


def test_a_kek_on_the_same_device_is_a_warning_and_a_missing_one_is_bad(patient: Patient) -> None:
    assert patient.one("KEK").level == WARN
    keys = patient.directory.with_name("site.keys")
    for kek in keys.glob("*.kek"):
        kek.unlink()
    assert patient.one("KEK") == Finding(
        BAD, "KEK", f"none in {keys}", "without it nothing that is kept opens: mount or restore it"
    )
    keys.rmdir()
    assert patient.one("KEK").found == f"{keys} is missing"


def test_a_kek_on_another_device_is_good(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    real, keys = Path.stat, patient.directory.with_name("site.keys")

    def elsewhere(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = real(path, follow_symlinks=follow_symlinks)
        if path != keys:
            return found
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:10]))

    monkeypatch.setattr(Path, "stat", elsewhere)
    assert patient.one("KEK").level == GOOD


def test_one_copy_of_the_key_trees_state_is_a_warning_two_are_good_and_a_lost_one_is_bad(patient: Patient) -> None:
    assert patient.one("key tree").level == WARN
    second = patient.directory.with_name("second")
    with (patient.directory / "config.toml").open("a") as config:
        config.write(f'\n[keys]\nstate_copies = ["{second}"]\n')
    assert patient.one("key tree") == Finding(
        BAD, "key tree", f"{second} is missing", "restore or mount it; lost state is lost recordings"
    )
    shutil.copy(patient.directory / "secrets" / "tree", second)
    assert patient.one("key tree").level == GOOD


def test_a_full_disk_is_bad(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, 10**12))
    assert patient.one("disk") == Finding(GOOD, "disk", "1000.0 GB free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12 - 10**9, 10**9))
    found = patient.one("disk")
    assert (found.level, found.found) == (BAD, "1.0 GB free, expected 2.1 GB")


def test_open_files_are_reckoned_with_one_socket_per_pair_of_ports(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "held_udp_ports", lambda *_, **__: set())
    monkeypatch.setattr(resource, "getrlimit", lambda _: (356, 356))
    assert patient.one("open files").level == GOOD  # 50 pairs of ports and 256 besides
    monkeypatch.setattr(resource, "getrlimit", lambda _: (355, 4096))
    found = patient.one("open files")
    assert (found.level, found.found) == (WARN, "limit 355 a process, a recorder may want 356")
    assert "LimitNOFILE=356" in found.todo


def test_ports_of_others_and_calls_that_are_never_taken_want_no_socket(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (336, 336))
    monkeypatch.setattr(doctor, "held_udp_ports", lambda *_, **__: set(range(FIRST, FIRST + 20)) | {5_353})
    assert patient.one("open files").found.endswith("may want 336")  # ten pairs are held by others
    assert patient.one("RTP ports").found.endswith("other programs hold 10 of 50")
    patient.configure("[sip]\n", "[sip]\nmax_calls = 3\n")
    assert patient.one("open files").found.endswith("may want 274")  # eighteen sockets


def test_a_running_recorders_own_limit_counts_not_that_of_this_shell(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as recorder:
        resource.prlimit(recorder.pid, resource.RLIMIT_NOFILE, (77, 77))
        patient.serves()
        patient.recorder_is(recorder.pid)
        found = patient.one("open files")
        recorder.kill()
    assert (found.level, found.found.split(",")[0]) == (WARN, "limit 77 a process")


def test_ports_that_others_hold_are_told_with_serve_running_and_not(patient: Patient) -> None:
    assert patient.one("RTP ports").level == GOOD
    with holding(FIRST + 2, socket.SOCK_DGRAM), holding(FIRST + 3, socket.SOCK_DGRAM):
        found = patient.one("RTP ports")
        assert (found.level, found.found) == (WARN, f"{HOST}:{FIRST}-{LAST}: other programs hold 1 of 50")
        patient.serves()  # now they are taken for the recorders' own
        assert patient.one("RTP ports").level == GOOD


def test_a_range_without_a_free_port_is_bad(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "held_udp_ports", lambda *_, **__: set(range(FIRST, LAST + 1)))
    assert patient.one("RTP ports").level == BAD


@pytest.mark.parametrize(
    "section, kind", [("sip", socket.SOCK_STREAM), ("sip", socket.SOCK_DGRAM), ("control", socket.SOCK_STREAM)]
)
def test_a_port_that_serve_wants_and_another_program_has_is_bad(
    section: str, kind: socket.SocketKind, patient: Patient
) -> None:
    config = load_config(patient.directory)
    port = {"sip": config.sip.port, "control": config.control.port}[section]
    assert patient.examine(f"{section} port") == []
    with holding(port, kind):
        found = patient.one(f"{section} port")
        assert (found.level, found.found) == (BAD, f"{HOST}:{port} cannot be listened on")
        assert f"[{section}]" in found.todo
        patient.serves()  # then it is ours
        assert patient.examine(f"{section} port") == []


def test_a_receive_buffer_that_the_system_cuts_is_a_warning(patient: Patient) -> None:
    patient.configure("[rtp]\n", "[rtp]\nreceive_buffer_bytes = 4096\n")
    assert patient.one("receive buffer").level == GOOD
    patient.configure("= 4096", f"= {1 << 30}")
    found = patient.one("receive buffer")
    assert found.level == WARN
    assert f"sysctl net.core.rmem_max={1 << 30}" in found.todo


def test_a_system_without_socket_filters_is_bad(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert patient.one("socket filter").level == GOOD

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr(doctor, "attach", refuse)
    found = patient.one("socket filter")
    assert (found.level, found.found) == (BAD, "cannot be attached: Protocol not available")


def test_a_packet_ring_is_looked_at_only_where_it_is_wanted(patient: Patient) -> None:
    found = patient.one("packet ring")
    assert (found.level, found.found) == (GOOD, "off: media is received by sockets")


@needs_ring
def test_where_a_packet_ring_can_be_had_doctor_says_where_it_will_listen(patient: Patient) -> None:
    patient.configure("[rtp]\n", '[rtp]\nreceiver = "ring"\n')
    found = patient.one("packet ring")
    assert found.level == GOOD
    assert found.found == f"can be had: lo and lo, ports {FIRST + 50}-{LAST} of the first recorder, 64 MiB each"


def test_where_no_packet_ring_can_be_had_doctor_says_what_it_needs(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.configure("[rtp]\n", '[rtp]\nreceiver = "ring"\n')

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(doctor, "Ring", refuse)
    found = patient.one("packet ring")
    assert (found.level, found.found) == (
        WARN,
        "cannot be had here: Operation not permitted; serve falls back to sockets",
    )
    assert "CAP_NET_RAW and CAP_BPF" in found.todo


def test_an_address_that_no_interface_has_is_bad_for_a_packet_ring(patient: Patient) -> None:
    patient.configure("[rtp]\n", '[rtp]\nreceiver = "ring"\nhost = "10.255.255.77"\n')
    found = patient.one("packet ring")
    assert (found.level, found.found) == (BAD, "no interface has the address 10.255.255.77")


@needs_ring
def test_a_recorder_that_fell_back_to_sockets_is_told(patient: Patient) -> None:
    patient.configure("[rtp]\n", '[rtp]\nreceiver = "ring"\n')
    patient.serves()
    patient.recorder_is(os.getpid())
    told = patient.directory / "run" / "recorder-1.receiver"
    told.write_text("sockets: the packet ring cannot be had: Operation not permitted\n")
    found = [finding for finding in patient.examine("recorder 1") if finding.level == WARN]
    assert [finding.found for finding in found] == [
        "says it receives by sockets: the packet ring cannot be had: Operation not permitted"
    ]
    told.write_text("ring\n")
    assert [finding for finding in patient.examine("recorder 1") if finding.level == WARN] == []


def test_swap_is_a_warning_unless_memory_is_locked(patient: Patient) -> None:
    assert patient.one("swap").level == GOOD
    doctor.SWAPS.write_text("Filename Type Size Used Priority\n/dev/sda2 partition 100 0 -2\n")
    assert patient.one("swap").level == WARN
    patient.serves()
    assert patient.one("swap").level == GOOD
    doctor.SWAPS.unlink()
    assert patient.one("swap").found.startswith("cannot be looked at")


def test_that_nothing_is_encrypted_is_always_said(patient: Patient) -> None:
    assert patient.one("encryption") == Finding(
        WARN,
        "encryption",
        f"SIP {HOST}: unencrypted; RTP {HOST}: unencrypted",
        "SRTP comes later: loopback or a private network that you trust, only",
    )
    assert patient.examine("TLS") == []


AUTHORITY = Authority()


def with_tls(patient: Patient, days: tuple[int, int]) -> TlsFiles:
    """A site that takes TLS with a certificate valid between these days from now."""
    config = patient.directory / "config.toml"
    config.write_text(
        config.read_text(encoding="utf-8").replace("[sip]\n", "[sip]\ntls_port = 5061\n"), encoding="utf-8"
    )
    certificate = AUTHORITY.issue("recorder.example", days=days)
    return write_files(patient.directory / "tls", certificate, Authority(days=400), "sbc.example")


def test_tls_that_serves_is_good_and_said_to_protect_signalling_only(patient: Patient) -> None:
    with_tls(patient, (-1, 90))
    assert patient.one("TLS") == Finding(GOOD, "TLS", "port 5061, 1 entries in the clients' list")
    assert patient.one("encryption").found == f"SIP {HOST}: TLS and unencrypted; RTP {HOST}: unencrypted"


@pytest.mark.parametrize(
    "days, level, words", [((-3, -1), BAD, "has run out"), ((-1, 20), WARN, "runs out in 19 days")]
)
def test_a_certificate_near_its_end_is_told_in_time(
    days: tuple[int, int], level: str, words: str, patient: Patient
) -> None:
    with_tls(patient, days)
    [_, found] = patient.examine("TLS")
    assert (found.level, found.found.endswith(words)) == (level, True)


def test_tls_files_that_do_not_serve_are_bad(patient: Patient) -> None:
    files = with_tls(patient, (-1, 90))
    files.clients.write_text("# nobody\n", encoding="utf-8")
    found = patient.one("TLS")
    assert (found.level, found.todo) == (BAD, "`mitschnitt serve` does not start with it")
    assert "is empty, so nobody could connect" in found.found


def test_without_a_keeper_it_says_what_to_start(patient: Patient) -> None:
    found = patient.one("keeper")
    assert found.level == WARN
    assert found.todo == f"start `mitschnitt serve --dir {patient.directory}`"
    assert patient.examine("recorder 1") == []


def test_a_keeper_and_its_recorders_that_run_are_good(patient: Patient) -> None:
    patient.serves()
    patient.recorder_is(os.getpid())
    assert "agents 6" in patient.one("keeper").found
    assert patient.one("recorder 1") == Finding(GOOD, "recorder 1", f"running, process {os.getpid()}")
    assert patient.examine("recorders") == []


def test_a_metrics_port_that_another_program_has_is_a_warning(patient: Patient) -> None:
    port = own_port()
    patient.configure("[metrics]\nport = 0", f"[metrics]\nport = {port}")
    assert patient.examine("metrics port") == []
    with holding(port, socket.SOCK_STREAM):
        found = patient.one("metrics port")
    assert (found.level, found.found) == (WARN, f"{HOST}:{port} cannot be listened on")


@contextmanager
def telling(port: int, body: bytes) -> Iterator[None]:
    """Somebody who answers every request at this port with this body."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer((HOST, port), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "body, level, found",
    [
        (b'{"ready": true, "reasons": []}', GOOD, "ready"),
        (b'{"ready": false, "reasons": ["view_stale", "draining"]}', WARN, "not ready: view_stale, draining"),
        (b"<html>", WARN, "nobody answers on port "),
        (b"[]", WARN, "nobody answers on port "),
    ],
)
def test_what_a_process_says_of_its_readiness_is_told(body: bytes, level: str, found: str, patient: Patient) -> None:
    port = own_port()
    patient.configure("[metrics]\nport = 0", f"[metrics]\nport = {port}")
    assert patient.examine("keeper health") == []  # nobody serves
    patient.serves()
    with telling(port, body):
        told = patient.one("keeper health")
        assert (told.level, told.found.startswith(found)) == (level, True)
        assert patient.one("recorder 1 health").found == f"nobody answers on port {port + 1}"


def ended(_patient: Patient) -> object:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


@pytest.mark.parametrize("pid", [ended, lambda _: "", lambda _: "nonsense", lambda _: 1 << 70])
def test_a_recorder_that_is_dead_is_bad(pid: Callable[[Patient], object], patient: Patient) -> None:
    patient.serves()
    patient.recorder_is(pid(patient))
    found = patient.one("recorder 1")
    assert (found.level, found.found) == (BAD, "not running")
    assert "log of `mitschnitt serve`" in found.todo


def test_a_recorder_without_a_process_id_or_without_a_link_is_bad(patient: Patient) -> None:
    patient.serves()
    patient.door.answers[("GET", "/status")]["recorders"] = 0
    assert patient.one("recorder 1").level == BAD
    assert patient.one("recorders").found == "0 of 1 speak to the keeper"


def test_a_process_of_somebody_else_is_alive(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    patient.serves()
    patient.recorder_is(1)
    monkeypatch.setattr(os, "kill", refuse)
    assert patient.one("recorder 1").level == GOOD


def test_a_keeper_that_could_be_dumped_is_a_warning(patient: Patient) -> None:
    patient.serves()
    patient.door.answers[("GET", "/status")]["not_dumpable"] = False
    levels = [(finding.level, finding.found) for finding in patient.examine("keeper")]
    assert (WARN, "not_dumpable is off") in levels


USERS = {
    "strong": f"sbc:r:SHA-256:{'a' * 64}\n",
    "weak": f"old:r:MD5:{'a' * 32}\n",
    "elsewhere": f"sbc:s:MD5:{'a' * 32}\n",
}


@pytest.mark.parametrize(
    "keys, users, level, found",
    [
        ("", "strong", GOOD, "1 in realm r, all by SHA-256"),
        ("", None, BAD, "cannot read"),
        ("", "elsewhere", BAD, "expected realm r, found s"),
        ("", "", WARN, "none in"),
        ("", "weak", WARN, "1 of 1 have MD5, which is not taken"),
        ("digest_md5 = true\n", "weak", WARN, "MD5 is taken; 1 of 1 have nothing better"),
        ("digest_md5 = true\n", "strong", WARN, "MD5 is taken; 0 of 1 have nothing better"),
    ],
)
def test_sip_users_are_looked_at(keys: str, users: str | None, level: str, found: str, patient: Patient) -> None:
    assert patient.examine("SIP users") == []  # nobody is asked for credentials
    patient.configure("[sip]\n", f'[sip]\ndigest_realm = "r"\n{keys}')
    if users is not None:
        path = patient.directory / "secrets" / "sip-users"
        path.touch(mode=0o600)
        path.write_text(USERS.get(users, ""))
    told = patient.one("SIP users")
    assert told.level == level
    assert found in told.found
    assert bool(told.todo) is (level != GOOD)


def test_doctor_asks_the_keeper_for_its_counts_and_for_no_call(patient: Patient) -> None:
    patient.serves()
    assert doctor.examine(patient.directory)
    assert {(method, path) for method, path, _ in patient.door.asked} == {("GET", "/status")}
