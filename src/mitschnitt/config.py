"""One directory, one `config.toml`, one frozen dataclass. Unknown keys are errors; the fields are the manual.

Secrets never stand here: they are files of mode 0600, and the KEK lies outside the directory (`keys.kek_dir`).
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

from mitschnitt.errors import ConfigError

LEAST_SESSION_S = 90  # RFC 4028, 5
DRAND_URL = re.compile(r"https://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?|http://127\.0\.0\.1(?::[0-9]{1,5})?/?")
RTP_SOURCES = ("signalled", "first")
LONGEST_SESSION_S = 86_400  # a day: longer than any call, and a session that nobody ends must end


class Receiving(StrEnum):
    """How packets of open lines come in; `[rtp] receiver`."""

    SOCKETS = "sockets"  # one for each line; needs no privilege
    RING = "ring"  # one mapped packet ring for all; needs CAP_NET_RAW and CAP_BPF


@dataclass(frozen=True, slots=True)
class Sip:
    """[sip] Where recording sessions are taken."""

    host: str = "127.0.0.1"  # loopback or a named private address until TLS is on
    port: int = 5060  # UDP and TCP; a second recorder takes the next port, and so on
    max_calls: int = 4_000  # calls per recorder; above it 503 with Retry-After
    session_expires_s: int = 600  # s, session timer (RFC 4028): a client that died is noticed within it; 90 to 86,400
    min_se_s: int = 90  # s, shorter session intervals are refused with 422, for each refresh costs messages; 90 or more
    call_header: str = "X-Mitschnitt-Call"  # third way to join an INVITE to an announced call
    plain: bool = True  # UDP and TCP are taken; false leaves TLS alone
    tls_port: int = 0  # TCP port for TLS, 5061 by custom; 0 = off; a second recorder takes the next port, and so on
    tls_certificate: str = "tls/certificate.pem"  # PEM, ours and intermediates; a path inside the directory
    tls_key: str = "tls/key.pem"  # of mode 0600, without password
    tls_client_ca: str = "tls/client-ca.pem"  # who may sign certificates of clients
    tls_clients: str = "tls/clients"  # the allow-list, a line each: sha256:FINGERPRINT, or a DNS name or URI
    calls_per_second: int = 400  # new sessions per recorder and second, as many at once; above it 503 with Retry-After
    calls_per_second_per_source: int = 300  # the same from one IPv4 address or one IPv6 network of 64 bits
    digest_realm: str = ""  # clients over UDP and TCP must know a secret of this realm (secrets/sip-users); empty: none
    digest_md5: bool = False  # also MD5, for clients that know nothing better; SHA-256 is offered first


@dataclass(frozen=True, slots=True)
class Rtp:
    """[rtp] Where media is received."""

    host: str = "127.0.0.1"  # loopback or a named private address until SRTP is on
    first_port: int = 10_000  # only even ports are used; with several recorders each gets its share of the range
    last_port: int = 32_767  # below the ephemeral range
    receive_buffer_bytes: int = 262_144  # bytes per socket (SO_RCVBUF): about 8 s of 20 ms packets
    source: str = "signalled"  # whose packets count: of the address in the offer; "first": of who sends first (NAT)
    receiver: str = "sockets"  # or "ring": several times the lines per core, needs CAP_NET_RAW and CAP_BPF at the start
    ring_mib: int = 64  # MiB a recorder, of 3,200 packets each: half a second must fit, so 160 for 1,000,000 packets/s
    keepalive_s: int = 0  # seconds; 15 to 60 where a NAT lies between: an empty datagram to silent clients; 0 = off


@dataclass(frozen=True, slots=True)
class Gate:
    """[gate] Switches that loosen nothing unless somebody wrote them down."""

    allow_unsigned_policy: bool = False  # a policy that works council and officer did not sign


@dataclass(frozen=True, slots=True)
class VaultSection:
    """[vault] Where sealed audio lies, relative to the directory."""

    audio: str = "audio/training"  # inside the directory; it may be a mount of its own


@dataclass(frozen=True, slots=True)
class Keys:
    """[keys] The KEK never lies inside the directory, and is never backed up with it."""

    kek_dir: str = ""  # empty = <DIR>.keys beside the directory
    state_copies: tuple[str, ...] = ()  # more places for the sealed tree state; the first is <DIR>/secrets/tree
    lease_block: int = 64  # fresh call keys that a recorder holds at a time


@dataclass(frozen=True, slots=True)
class Control:
    """[control] The API that whoever speaks to the caller uses; loopback, bearer token in secrets/control.token."""

    host: str = "127.0.0.1"  # loopback only
    port: int = 8_471  # TCP


@dataclass(frozen=True, slots=True)
class Metrics:
    """[metrics] Figures for Prometheus, `/healthz` and `/readyz`: numbers about the machine, nothing of any call."""

    host: str = "127.0.0.1"  # loopback or a named private address: whoever reaches it may read
    port: int = 9_471  # TCP, of the keeper; recorder 1 takes the next port, and so on; 0 = off


@dataclass(frozen=True, slots=True)
class Draw:
    """[draw] What the draw of calls may reach outside this machine: nothing, unless it is written here."""

    drand_url: str = ""  # relay of the public beacon, https://...; `draw round --fetch` asks it; empty: never


@dataclass(frozen=True, slots=True)
class Limits:
    """[limits] Counts above which we refuse rather than swell."""

    recorders: int = 1  # processes; each owns its calls
    announced_calls: int = 20_000  # calls that were announced and have no INVITE yet


@dataclass(frozen=True, slots=True)
class Config:
    """All of `config.toml`, and where the directory is."""

    directory: Path
    sip: Sip = field(default_factory=Sip)
    rtp: Rtp = field(default_factory=Rtp)
    gate: Gate = field(default_factory=Gate)
    vault: VaultSection = field(default_factory=VaultSection)
    keys: Keys = field(default_factory=Keys)
    control: Control = field(default_factory=Control)
    metrics: Metrics = field(default_factory=Metrics)
    draw: Draw = field(default_factory=Draw)
    limits: Limits = field(default_factory=Limits)

    @property
    def kek_dir(self) -> Path:
        """Where the KEK lies: never inside the directory."""
        named = self.keys.kek_dir
        return Path(named) if named else self.directory.with_name(self.directory.name + ".keys")

    @property
    def state_copies(self) -> tuple[Path, ...]:
        """Where the sealed tree state is kept current; all are written before an erasure counts."""
        return (self.directory / "secrets" / "tree", *(Path(path) for path in self.keys.state_copies))

    @property
    def sip_users(self) -> Path:
        """Who may speak to us: the secrets of SIP clients, when `sip.digest_realm` is set."""
        return self.directory / "secrets" / "sip-users"

    @property
    def sip_accounts(self) -> Path:
        """As whom we answer clients that challenge us; there need not be one."""
        return self.directory / "secrets" / "sip-accounts"

    @property
    def audio(self) -> Path:
        """Root of the sealed files."""
        return self.directory / self.vault.audio

    @property
    def tls_files(self) -> tuple[Path, Path, Path, Path]:
        """Our certificate, its key, the clients' CA, the clients' list."""
        sip = self.sip
        certificate, key, ca, clients = (
            self.directory / name for name in (sip.tls_certificate, sip.tls_key, sip.tls_client_ca, sip.tls_clients)
        )
        return certificate, key, ca, clients

    @property
    def database(self) -> Path:
        """The domain database."""
        return self.directory / "db" / "domain.sqlite"

    @property
    def run(self) -> Path:
        """Sockets and process ids."""
        return self.directory / "run"

    def journal(self, recorder: int) -> Path:
        """The journals of one recorder."""
        return self.directory / "recorder" / str(recorder) / "journal"


def _section(kind: type, name: str, table: Any) -> Any:
    if not isinstance(table, dict):
        raise ConfigError(f"config: [{name}] must be a section, found {table!r}")
    hints = get_type_hints(kind)
    known = {item.name for item in dataclasses.fields(kind)}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"config: unknown key `{key}` in [{name}]; known are {', '.join(sorted(known))}")
        expected = tuple if hints[key] not in (str, int, bool) else hints[key]
        found = tuple(value) if isinstance(value, list) else value
        texts = not isinstance(found, tuple) or all(isinstance(item, str) for item in found)
        if type(found) is not expected or not texts:
            raise ConfigError(f"config: [{name}] `{key}` must be {expected.__name__}, found {value!r}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})


SECTIONS: dict[str, type] = {
    "sip": Sip,
    "rtp": Rtp,
    "gate": Gate,
    "vault": VaultSection,
    "keys": Keys,
    "control": Control,
    "metrics": Metrics,
    "draw": Draw,
    "limits": Limits,
}


def parse_config(text: str, directory: Path) -> Config:
    """The configuration in a file's text; ConfigError says what was found and expected."""
    try:
        top = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config: not TOML: {error}") from error
    unknown = sorted(set(top) - set(SECTIONS))
    if unknown:
        raise ConfigError(f"config: unknown section [{unknown[0]}]; known are {', '.join(sorted(SECTIONS))}")
    parts = {name: _section(kind, name, top.get(name, {})) for name, kind in SECTIONS.items()}
    config = Config(directory=directory.resolve(), **parts)
    _check(config)
    return config


def _check(config: Config) -> None:
    hosts = (config.sip.host, config.rtp.host, config.control.host, config.metrics.host)
    for name, host in zip(("sip", "rtp", "control", "metrics"), hosts, strict=True):
        try:
            address = ipaddress.ip_address(host)
        except ValueError as error:
            raise ConfigError(f"config: [{name}] `host` must be an IP address, found {host!r}") from error
        if not (address.is_loopback or (address.is_private and not address.is_unspecified)):
            raise ConfigError(f"config: [{name}] `host` must be loopback or private while unencrypted, found {host}")
    if not ipaddress.ip_address(config.control.host).is_loopback:
        raise ConfigError(f"config: [control] `host` must be loopback, found {config.control.host}")
    for name, port in (("sip", config.sip.port), ("control", config.control.port)):
        if not 1 <= port <= 65_535:
            raise ConfigError(f"config: [{name}] `port` must be 1 to 65535, found {port}")
    if config.metrics.port and not 1 <= config.metrics.port <= 65_535 - config.limits.recorders:
        raise ConfigError(f"config: [metrics] `port` must be 1 to 65535, or 0 for none, found {config.metrics.port}")
    _check_tls(config)
    if config.draw.drand_url and not DRAND_URL.fullmatch(config.draw.drand_url):
        raise ConfigError(f"config: [draw] `drand_url` must be https://host/..., found {config.draw.drand_url!r}")
    if not re.fullmatch(r"[^:\"\\\x00-\x1f\x7f]*", config.sip.digest_realm):
        raise ConfigError("config: [sip] `digest_realm` has no colon, quote or control character")
    if not 1_024 <= config.rtp.first_port < config.rtp.last_port <= 65_535:
        raise ConfigError("config: [rtp] first_port and last_port must rise and lie between 1024 and 65535")
    for section, key, value, most in (
        ("sip", "max_calls", config.sip.max_calls, 100_000),
        ("sip", "calls_per_second", config.sip.calls_per_second, 100_000),
        ("sip", "calls_per_second_per_source", config.sip.calls_per_second_per_source, 100_000),
        ("rtp", "receive_buffer_bytes", config.rtp.receive_buffer_bytes, 1 << 30),
        ("rtp", "ring_mib", config.rtp.ring_mib, 4_096),
        ("keys", "lease_block", config.keys.lease_block, 4_096),
        ("limits", "recorders", config.limits.recorders, 64),
        ("limits", "announced_calls", config.limits.announced_calls, 1_000_000),
    ):
        if not 1 <= value <= most:
            raise ConfigError(f"config: [{section}] `{key}` must be 1 to {most}, found {value}")
    if config.rtp.receiver not in list(Receiving):
        known = ", ".join(f'"{way}"' for way in Receiving)
        raise ConfigError(f"config: [rtp] `receiver` must be one of {known}, found {config.rtp.receiver!r}")
    low, high = config.sip.min_se_s, config.sip.session_expires_s
    if not LEAST_SESSION_S <= low <= high <= LONGEST_SESSION_S:
        raise ConfigError(
            f"config: [sip] min_se_s and session_expires_s must lie between {LEAST_SESSION_S} and "
            f"{LONGEST_SESSION_S} and not fall, found {low} and {high}"
        )
    if config.rtp.keepalive_s and not 15 <= config.rtp.keepalive_s <= 60:
        raise ConfigError(f"config: [rtp] `keepalive_s` must be 0, or 15 to 60, found {config.rtp.keepalive_s}")
    if config.rtp.source not in RTP_SOURCES:
        raise ConfigError(f"config: [rtp] `source` must be {' or '.join(RTP_SOURCES)}, found {config.rtp.source!r}")
    if not config.audio.resolve().is_relative_to(config.directory):
        raise ConfigError(f"config: [vault] `audio` must lie inside {config.directory}, found {config.vault.audio!r}")
    if config.kek_dir.resolve().is_relative_to(config.directory):
        raise ConfigError(f"config: keys.kek_dir must lie outside {config.directory}; a copy would open all")


def _check_tls(config: Config) -> None:
    sip, most = config.sip, config.limits.recorders
    if not 0 <= sip.tls_port <= 65_535:
        raise ConfigError(f"config: [sip] `tls_port` must be 1 to 65535, or 0 for none, found {sip.tls_port}")
    if sip.tls_port and sip.plain and abs(sip.tls_port - sip.port) < most:
        raise ConfigError(f"config: [sip] `tls_port` and `port` must lie {most} apart, one for each recorder")
    if not sip.plain and not sip.tls_port:
        raise ConfigError("config: [sip] `plain` is false and `tls_port` is 0, so nobody could call")


def load_config(directory: Path) -> Config:
    """`DIR/config.toml`; ConfigError when it is missing or wrong."""
    path = directory / "config.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"config: cannot read {path}: {error.strerror}; `mitschnitt init DIR` makes one") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"config: {path} is not UTF-8: {error.reason} at byte {error.start}") from error
    return parse_config(text, directory)
