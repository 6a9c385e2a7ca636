"""`mitschnitt doctor`: looks at machine, directory and running processes; says what is wrong and what to do.

Changes nothing. Each check is a small function that returns findings; `bad` ones make the exit code 1.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import typer
from cryptography import x509
from rich.console import Console
from rich.text import Text

from mitschnitt.commands.door_client import Door
from mitschnitt.commands.ports import held_udp_ports, is_free
from mitschnitt.config import Config, Receiving, load_config
from mitschnitt.errors import ConfigError, MitschnittError
from mitschnitt.exit_codes import DONE, REFUSED
from mitschnitt.hardening import swap_is_off
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.policy_watch import PolicyWatch, watch_of
from mitschnitt.keeper.site import load_site
from mitschnitt.recorder.filters import attach, cutting_filter
from mitschnitt.recorder.interfaces import interface_of
from mitschnitt.recorder.ports import SPARE_FILES, PortPool
from mitschnitt.recorder.receiving import NEEDED, open_ports, ports_of, told_at
from mitschnitt.recorder.ring import Ring
from mitschnitt.recorder.sip_accounts import read_secrets
from mitschnitt.recorder.tls import TlsFiles, load_credentials
from mitschnitt.wire.sip.authentication import users_by_name
from mitschnitt.wire.sip.digest import Algorithm

FREE_BYTES = 2 * 1024**3  # below it a busy hour no longer fits: 100 calls of G.711 for an hour are 6 GB
LINES_PER_CALL = 4  # two parties; each has its line behind the filter and, while it moves, the fresh one
SOCKETS_PER_CALL = 6  # one a line, and RTCP's beside the two that are kept
RENEW_DAYS = 30  # before its end a certificate is worth a word: authorities and people take their time
PROBE_MIB = 1  # of a ring that is made only to see whether it can be
SWAPS = Path("/proc/swaps")
PROCESSES = Path("/proc")
ANSWER_SECONDS = 5.0  # for a process to say whether it is ready
GOOD, WARN, BAD = "good", "warn", "bad"
COLOURS = {GOOD: "green", WARN: "yellow", BAD: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `todo` is empty when all is well."""

    level: str
    subject: str
    found: str
    todo: str = ""


def run(directory: Path, *, as_json: bool) -> int:
    """0 when nothing is bad, 1 otherwise."""
    findings = examine(directory)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        console = Console(highlight=False)
        for finding in findings:
            head = Text(f"{finding.level:5}", COLOURS[finding.level])
            console.print(head + Text(f"{finding.subject}: {finding.found}"), soft_wrap=True)
            if finding.todo:
                console.print(Text(f"     -> {finding.todo}"), soft_wrap=True)
    return REFUSED if any(finding.level == BAD for finding in findings) else DONE


def examine(directory: Path) -> list[Finding]:
    """All findings for a directory, in the order in which one would mend them."""
    try:
        config = load_config(directory)
    except ConfigError as error:
        return [Finding(BAD, "configuration", str(error), "mend config.toml, or `mitschnitt init DIR`")]
    return [finding for check in CHECKS for finding in _looked_at(check, config)]


def _looked_at(check: Callable[[Config], Iterator[Finding]], config: Config) -> list[Finding]:
    try:
        return list(check(config))
    except OSError as error:
        subject = check.__name__.strip("_").replace("_", " ")
        where = f" {error.filename}" if error.filename else ""
        found = f"cannot be looked at:{where} {error.strerror}"
        return [Finding(BAD, subject, found, "run doctor as the user of `mitschnitt serve`")]


def _modes(config: Config) -> Iterator[Finding]:
    places = [
        path
        for root in (config.directory, config.kek_dir)
        for path in (root, *root.glob("*"), *root.glob("secrets/*"), *root.glob("db/*"), *root.glob("policy/*"))
    ]
    loose = [path for path in places if path.exists() and not path.is_socket() and path.stat().st_mode & 0o077]
    if loose:
        more = f" and {len(loose) - 1} more" if len(loose) > 1 else ""
        todo = f"chmod -R go-rwx {config.directory} {config.kek_dir}"
        yield Finding(BAD, "file modes", f"others can reach {loose[0]}{more}", todo)
    else:
        yield Finding(GOOD, "file modes", "only the owner can read")


def _site_files(config: Config) -> Iterator[Finding]:
    stops = "`mitschnitt serve` does not start until this is mended"
    try:
        rules = watch_of(config, now=wall_clock(), monotonic=time.monotonic)
    except ConfigError as error:
        yield Finding(BAD, "policy", str(error).removeprefix("policy: "), stops)
        return
    yield policy_finding(config, rules)
    try:
        agents = len(load_site(config, rules.current.policy).agents)
    except ConfigError as error:
        yield Finding(BAD, "site files", str(error), stops)
        return
    if agents:
        yield Finding(GOOD, "agents", f"{agents} in agents.toml")
    else:
        todo = "write them into agents.toml: a call whose agent is not known is never kept"
        yield Finding(WARN, "agents", "none in agents.toml", todo)


def policy_finding(config: Config, rules: PolicyWatch) -> Finding:
    """What is in force, and whether anybody signed it."""
    short = f"{rules.current.policy.hash[:8]}…"
    if config.gate.allow_unsigned_policy:
        todo = "for trials only: nobody but the operator has agreed to what callers are asked"
        return Finding(WARN, "policy", f"{short} is used unsigned ([gate] allow_unsigned_policy)", todo)
    if rules.closed.startswith("clock."):
        todo = "nobody is asked until the date is right, or was confirmed"
        return Finding(
            BAD, "policy", f"{short} is held, for the clock is far from when this site was served last", todo
        )
    if rules.closed:
        return Finding(WARN, "policy", f"{short} is signed and not in force yet", "nobody is asked before it begins")
    return Finding(GOOD, "policy", f"{short} is in force, signed by {', '.join(rules.current.policy.signed_by)}")


def _sip_users(config: Config) -> Iterator[Finding]:
    realm = config.sip.digest_realm
    if not realm:
        return
    try:
        users = read_secrets(config.sip_users)
        users_by_name(realm, users)
    except ConfigError as error:
        todo = "`mitschnitt serve` takes no call until this is mended; see docs/operating.md"
        yield Finding(BAD, "SIP users", str(error), todo)
        return
    weak = sum(user.algorithm is Algorithm.MD5 for user in users)
    if not users:
        yield Finding(WARN, "SIP users", f"none in {config.sip_users}", "no client is let in over UDP and TCP")
    elif weak and not config.sip.digest_md5:
        todo = "give them SHA-256, or set digest_md5 in [sip] for clients that know nothing better"
        yield Finding(WARN, "SIP users", f"{weak} of {len(users)} have MD5, which is not taken", todo)
    elif weak or config.sip.digest_md5:
        todo = "give clients SHA-256 as soon as they can do it, then take digest_md5 out of [sip]"
        yield Finding(WARN, "SIP users", f"MD5 is taken; {weak} of {len(users)} have nothing better", todo)
    else:
        yield Finding(GOOD, "SIP users", f"{len(users)} in realm {realm}, all by SHA-256")


def _keys_apart(config: Config) -> Iterator[Finding]:
    if not config.kek_dir.is_dir() or not any(config.kek_dir.glob("*.kek")):
        found = f"{config.kek_dir} is missing" if not config.kek_dir.is_dir() else f"none in {config.kek_dir}"
        yield Finding(BAD, "KEK", found, "without it nothing that is kept opens: mount or restore it")
    elif config.kek_dir.stat().st_dev == config.directory.stat().st_dev:
        todo = "set kek_dir in [keys] to a directory on another device, and move the keys there"
        yield Finding(WARN, "KEK", "on the same device as the recordings: one copy takes both", todo)
    else:
        yield Finding(GOOD, "KEK", "on a device of its own")
    missing = [copy for copy in config.state_copies if not copy.is_file()]
    if missing:
        todo = "restore or mount it; lost state is lost recordings"
        yield Finding(BAD, "key tree", f"{missing[0]} is missing", todo)
    elif len(config.state_copies) == 1:
        todo = "name a second place in state_copies of [keys]: lost state is lost recordings"
        yield Finding(WARN, "key tree", "one copy of the sealed state", todo)
    else:
        yield Finding(GOOD, "key tree", f"{len(config.state_copies)} copies of the sealed state")


def _disk(config: Config) -> Iterator[Finding]:
    free = shutil.disk_usage(config.directory).free
    if free >= FREE_BYTES:
        yield Finding(GOOD, "disk", f"{free / 1e9:.1f} GB free")
    else:
        found = f"{free / 1e9:.1f} GB free, expected {FREE_BYTES / 1e9:.1f} GB"
        yield Finding(BAD, "disk", found, "make room: on a full disk nothing new is kept")


def _ports(config: Config) -> Iterator[Finding]:
    """RTP ports, and open files for them: a pair has a socket for RTP and, while its line is kept, one for RTCP."""
    serving = _status(config) is not None
    # What our own user holds while we serve are the recorders' own lines.
    own_user = os.getuid() if serving else None
    held = held_udp_ports(config.rtp.host, besides_user=own_user)
    every = range(config.rtp.first_port, config.rtp.last_port + 1)
    pairs = PortPool(every.start, every.stop - 1).free
    others = sum(port % 2 == 0 for port in held if port in every)
    where = f"{config.rtp.host}:{every.start}-{every.stop - 1}"
    if pairs == others:
        yield Finding(BAD, "RTP ports", f"{where}: other programs hold every one", "choose another range in [rtp]")
    elif others:
        todo = "choose a range in [rtp] that nobody else uses; until then there is room for fewer calls"
        yield Finding(WARN, "RTP ports", f"{where}: other programs hold {others} of {pairs}", todo)
    else:
        yield Finding(GOOD, "RTP ports", f"{where}: {pairs} pairs, room for about {pairs // LINES_PER_CALL} calls")
    usable = (pairs - others) // config.limits.recorders
    wanted = files_wanted(config, usable)
    limit = _file_limit(config)
    if limit >= wanted:
        yield Finding(GOOD, "open files", f"limit {limit} a process, a recorder may want {wanted}")
    else:
        todo = f"LimitNOFILE={wanted} (or `ulimit -n {wanted}` before serve), or a narrower range in [rtp]"
        yield Finding(WARN, "open files", f"limit {limit} a process, a recorder may want {wanted}", todo)
    if not serving:
        yield from _listening_ports(config)


def files_wanted(config: Config, pairs: int) -> int:
    """Open files that a recorder can want that has so many pairs of RTP ports."""
    return min(2 * pairs, config.sip.max_calls * SOCKETS_PER_CALL) + SPARE_FILES


def _listening_ports(config: Config) -> Iterator[Finding]:
    numbers, host = range(config.limits.recorders), config.sip.host
    plain = [("sip", host, config.sip.port + number) for number in numbers if config.sip.plain]
    tls = [("tls", host, config.sip.tls_port + number) for number in numbers if config.sip.tls_port]
    control = ("control", config.control.host, config.control.port)
    host, port = config.metrics.host, config.metrics.port
    metrics = [("metrics", host, port + number) for number in (0, *(number + 1 for number in numbers)) if port]
    for section, host, port in (*plain, *tls, control, *metrics):
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM) if section == "sip" else (socket.SOCK_STREAM,)
        if not is_free(host, port, kinds):
            todo = f"stop what uses it, or set another port in [{'sip' if section == 'tls' else section}]"
            level = WARN if section == "metrics" else BAD  # without it calls are taken all the same
            yield Finding(level, f"{section} port", f"{host}:{port} cannot be listened on", todo)


def _file_limit(config: Config) -> int:
    """Open files that a running recorder may have; with none running, that serve would have from this shell."""
    for line in _process_text(config, 1, "limits").splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else 1 << 30  # "unlimited"
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _process_text(config: Config, recorder: int, name: str) -> str:
    pid = _pid(config, recorder)
    try:
        return (PROCESSES / str(pid) / name).read_text(encoding="ascii", errors="replace") if pid else ""
    except OSError:
        return ""  # it ended meanwhile


def _receive_buffer(config: Config) -> Iterator[Finding]:
    wanted = config.rtp.receive_buffer_bytes
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
        # The kernel doubles what it grants, for its own overhead (socket(7)).
        got = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    if got >= wanted:
        yield Finding(GOOD, "receive buffer", f"{wanted} bytes a socket")
    else:
        todo = f"sysctl net.core.rmem_max={wanted}: a late recorder loses packets sooner"
        yield Finding(WARN, "receive buffer", f"{got} bytes a socket, expected {wanted}", todo)


def _filter(_config: Config) -> Iterator[Finding]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            attach(probe, cutting_filter(()))
        except OSError as error:
            todo = "allow SO_ATTACH_FILTER (Linux; not every sandbox has it): without it nobody is asked"
            yield Finding(BAD, "socket filter", f"cannot be attached: {error.strerror}", todo)
        else:
            yield Finding(GOOD, "socket filter", "audio is cut in the kernel until consent")


def _ring(config: Config) -> Iterator[Finding]:
    if config.rtp.receiver != Receiving.RING:
        yield Finding(GOOD, "packet ring", "off: media is received by sockets")
        return
    subject, todo = "packet ring", f'give `mitschnitt serve` {NEEDED} (docs/operating.md), or receiver = "sockets"'
    if interface_of(config.rtp.host) is None:
        found = f"no interface has the address {config.rtp.host}"
        yield Finding(BAD, subject, found, "mend `host` in [rtp], or bring the interface up")
        return
    try:
        Ring(config.rtp.host, size_mib=PROBE_MIB).close()
    except OSError as error:
        found = f"cannot be had here: {error.strerror or error}; serve falls back to sockets"
        yield Finding(WARN, subject, found, todo)
    else:
        interface = interface_of(config.rtp.host)
        ports = open_ports(ports_of(config, 1))
        where = f"{interface} and lo, ports {ports.start}-{ports.stop - 1} of the first recorder"
        yield Finding(GOOD, subject, f"can be had: {where}, {config.rtp.ring_mib} MiB each")
    if _status(config) is None:
        return
    for number in range(1, config.limits.recorders + 1):
        path = told_at(config, number)
        told = path.read_text(encoding="utf-8").strip() if path.exists() else "nothing"
        if told != Receiving.RING:
            yield Finding(WARN, f"recorder {number}", f"says it receives by {told}", f"{todo}; then start it again")


def _swap(config: Config) -> Iterator[Finding]:
    status = _status(config) or {}
    if swap_is_off(SWAPS.read_text(encoding="ascii", errors="replace")):
        yield Finding(GOOD, "swap", "is off")
    elif status.get("memory_locked"):
        yield Finding(GOOD, "swap", "is on, but the keeper's memory is locked")
    else:
        todo = "swapoff -a, encrypt swap, or LimitMEMLOCK=infinity: keys and 1.5 s of agreed audio are in memory"
        yield Finding(WARN, "swap", "is on", todo)


def _tls(config: Config) -> Iterator[Finding]:
    if not config.sip.tls_port:
        return
    files = TlsFiles(*config.tls_files)
    try:
        allowed = load_credentials(files).allowed
    except ConfigError as error:
        yield Finding(BAD, "TLS", str(error).removeprefix("tls: "), "`mitschnitt serve` does not start with it")
        return
    yield Finding(GOOD, "TLS", f"port {config.sip.tls_port}, {len(allowed)} entries in the clients' list")
    for path in (files.certificate, files.client_ca):
        for certificate in x509.load_pem_x509_certificates(path.read_bytes()):
            ends = certificate.not_valid_after_utc
            days = (ends - datetime.now(UTC)).days
            if days < RENEW_DAYS:
                level, found = (BAD, "has run out") if days < 0 else (WARN, f"runs out in {days} days")
                todo = "put a new one in its place; it is in force within seconds, calls go on"
                yield Finding(level, "TLS", f"a certificate in {path} {found}", todo)


def _encryption(config: Config) -> Iterator[Finding]:
    sip = "TLS and unencrypted" if config.sip.plain else "TLS only"
    signalling = f"SIP {config.sip.host}: {sip if config.sip.tls_port else 'unencrypted'}"
    todo = "SRTP comes later: loopback or a private network that you trust, only"
    yield Finding(WARN, "encryption", f"{signalling}; RTP {config.rtp.host}: unencrypted", todo)


def _processes(config: Config) -> Iterator[Finding]:
    try:
        status = Door(config.directory).get("/status")
    except MitschnittError as error:
        yield Finding(WARN, "keeper", str(error), f"start `mitschnitt serve --dir {config.directory}`")
        return
    yield Finding(GOOD, "keeper", ", ".join(f"{name} {value}" for name, value in sorted(status.items())))
    for name in ("no_core", "not_dumpable"):
        if not status.get(name):
            yield Finding(
                WARN, "keeper", f"{name} is off", "a dump of the keeper would hold keys: see the system's limits"
            )
    log = "see the log of `mitschnitt serve`: it starts dead recorders again and says why they end"
    for number in range(1, config.limits.recorders + 1):
        pid = _pid(config, number)
        if pid is None or not _alive(pid):
            yield Finding(BAD, f"recorder {number}", "not running", log)
        else:
            yield Finding(GOOD, f"recorder {number}", f"running, process {pid}")
    if status.get("recorders", 0) < config.limits.recorders:
        found = f"{status.get('recorders', 0)} of {config.limits.recorders} speak to the keeper"
        yield Finding(BAD, "recorders", found, log)


def _readiness(config: Config) -> Iterator[Finding]:
    """What the processes say of themselves, where they serve figures."""
    port = config.metrics.port
    if not port or _status(config) is None:
        return
    parts = ["keeper", *(f"recorder {number}" for number in range(1, config.limits.recorders + 1))]
    for number, part in enumerate(parts):
        try:
            told = httpx.get(
                f"{_at(config.metrics.host, port + number)}/readyz", timeout=ANSWER_SECONDS, trust_env=False
            ).json()
            reasons = [str(reason) for reason in told["reasons"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            todo = f"see the log; without it nobody watches over the {part.split()[0]}"
            yield Finding(WARN, f"{part} health", f"nobody answers on port {port + number}", todo)
            continue
        if reasons:
            todo = 'see "Health" in docs/operating.md for each'
            yield Finding(WARN, f"{part} health", f"not ready: {', '.join(reasons)}", todo)
        else:
            yield Finding(GOOD, f"{part} health", "ready")


def _at(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _status(config: Config) -> dict[str, int] | None:
    try:
        status: dict[str, int] = Door(config.directory).get("/status")
    except MitschnittError:
        return None
    return status


def _pid(config: Config, recorder: int) -> int | None:
    """The process id that `serve` wrote; None when there is none."""
    try:
        return int((config.run / f"recorder-{recorder}.pid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # somebody else's: the process is there
    except (ProcessLookupError, OverflowError):
        return False
    return True


CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    _modes,
    _site_files,
    _sip_users,
    _keys_apart,
    _disk,
    _ports,
    _receive_buffer,
    _filter,
    _ring,
    _swap,
    _tls,
    _encryption,
    _processes,
    _readiness,
)
