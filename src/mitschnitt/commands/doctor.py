"""`mitschnitt doctor`: looks at machine, directory and running processes; says what is wrong and what to do.

Changes nothing. Each check is a small function that returns findings; `bad` ones make the exit code 1.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from mitschnitt.commands.door_client import Door
from mitschnitt.config import Config, load_config
from mitschnitt.errors import ConfigError, MitschnittError
from mitschnitt.exit_codes import DONE, REFUSED
from mitschnitt.recorder.filters import attach, cutting_filter

FREE_BYTES = 2 * 1024**3  # below it a busy hour no longer fits: 100 calls of G.711 for an hour are 6 GB
SPARE_FILES = 256  # descriptors besides RTP sockets: journals, blobs, SIP connections
GOOD, WARN, BAD = "good", "warn", "bad"


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
        table = Table("", "subject", "found", "what to do", box=None)
        for finding in findings:
            style = {"good": "green", "warn": "yellow", "bad": "red"}[finding.level]
            table.add_row(f"[{style}]{finding.level}[/]", finding.subject, finding.found, finding.todo)
        Console().print(table)
    return REFUSED if any(finding.level == BAD for finding in findings) else DONE


def examine(directory: Path) -> list[Finding]:
    """All findings for a directory, in the order in which one would mend them."""
    try:
        config = load_config(directory)
    except ConfigError as error:
        return [Finding(BAD, "configuration", str(error), "mend config.toml, or `mitschnitt init DIR`")]
    checks: tuple[Callable[[Config], Iterator[Finding]], ...] = (
        _modes,
        _keys_apart,
        _disk,
        _files,
        _receive_buffer,
        _filter,
        _memory,
        _encryption,
        _processes,
    )
    return [finding for check in checks for finding in check(config)]


def _modes(config: Config) -> Iterator[Finding]:
    loose = [
        path
        for root in (config.directory, config.kek_dir)
        for path in (root, *root.glob("*"), *root.glob("secrets/*"))
        if path.exists() and not path.is_socket() and path.stat().st_mode & 0o077
    ]
    if loose:
        yield Finding(BAD, "file modes", f"{loose[0]} can be read by others", f"chmod go-rwx {loose[0]}")
    else:
        yield Finding(GOOD, "file modes", "only the owner can read")


def _keys_apart(config: Config) -> Iterator[Finding]:
    if not config.kek_dir.exists():
        yield Finding(BAD, "KEK", f"{config.kek_dir} is missing", "without it nothing that is kept opens: find it")
        return
    same = config.kek_dir.stat().st_dev == config.directory.stat().st_dev
    if same:
        todo = "set keys.kek_dir to another device; until then every certificate says so"
        yield Finding(WARN, "KEK", "on the same device as the recordings", todo)
    else:
        yield Finding(GOOD, "KEK", "on a device of its own")
    if len(config.state_copies) < 2:
        todo = "name a second place in keys.state_copies: lost state is lost recordings"
        yield Finding(WARN, "key tree", "one copy of the sealed state", todo)


def _disk(config: Config) -> Iterator[Finding]:
    free = shutil.disk_usage(config.directory).free
    level = GOOD if free >= FREE_BYTES else BAD
    yield Finding(level, "disk", f"{free / 1e9:.1f} GB free", "" if level == GOOD else "make room, or calls close")


def _files(config: Config) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    sockets = (config.rtp.last_port - config.rtp.first_port) // 2
    level = GOOD if hard >= sockets + SPARE_FILES else WARN
    todo = "" if level == GOOD else f"raise LimitNOFILE to {sockets + SPARE_FILES}, or narrow the RTP port range"
    yield Finding(level, "open files", f"limit {soft}/{hard}, the port range wants {sockets}", todo)


def _receive_buffer(config: Config) -> Iterator[Finding]:
    wanted = config.rtp.receive_buffer_bytes
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
        got = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    level = GOOD if got >= wanted else WARN
    todo = "" if level == GOOD else f"sysctl net.core.rmem_max={wanted}"
    yield Finding(level, "receive buffer", f"{got} bytes a socket", todo)


def _filter(_config: Config) -> Iterator[Finding]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            attach(probe, cutting_filter(()))
        except OSError as error:
            yield Finding(BAD, "socket filter", f"cannot be attached: {error.strerror}", "without it nobody is asked")
        else:
            yield Finding(GOOD, "socket filter", "audio is cut in the kernel until consent")


def _memory(_config: Config) -> Iterator[Finding]:
    swaps = Path("/proc/swaps").read_text(encoding="utf-8").splitlines()[1:]
    if swaps:
        todo = "swapoff -a, or encrypt swap: up to two seconds of agreed audio are in memory"
        yield Finding(WARN, "swap", "is on", todo)
    else:
        yield Finding(GOOD, "swap", "is off")
    core = Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8").strip()
    yield Finding(GOOD, "core dumps", f"refused by each process (pattern {core!r})")


def _encryption(config: Config) -> Iterator[Finding]:
    where = f"SIP {config.sip.host}, RTP {config.rtp.host}"
    yield Finding(WARN, "encryption", f"{where}: unencrypted", "TLS and SRTP come later: private networks only")


def _processes(config: Config) -> Iterator[Finding]:
    try:
        status = Door(config.directory).get("/status")
    except MitschnittError as error:
        yield Finding(WARN, "keeper", str(error), "start `mitschnitt serve`")
        return
    yield Finding(GOOD, "keeper", ", ".join(f"{name} {value}" for name, value in sorted(status.items())))
    for number in range(1, config.limits.recorders + 1):
        pid_file = config.run / f"recorder-{number}.pid"
        alive = pid_file.exists() and _alive(int(pid_file.read_text(encoding="utf-8")))
        level, found = (GOOD, "running") if alive else (BAD, "not running")
        yield Finding(level, f"recorder {number}", found, "" if alive else "see the log of `mitschnitt serve`")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
