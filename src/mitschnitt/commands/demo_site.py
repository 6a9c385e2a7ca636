"""The site that `demo` and the journeys serve: four agents who agreed, one who did not, one too long ago."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mitschnitt.commands.init import provision
from mitschnitt.config import load_config
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.purpose import TRAINING
from mitschnitt.gateways import cast
from mitschnitt.keeper.grants import import_grants, sign_grant

NOTICE = "notice-training-1"  # the text-form notice that the agents signed
GRANT_DAYS = 365
PRIVATE_DIRECTORY = 0o700
SIP_PORT, CONTROL_PORT = 15_060, 18_471  # beside those of a site that serves on this machine
FIRST_RTP_PORT, LAST_RTP_PORT = 20_000, 23_999
Keys = Mapping[str, tuple[cast.Speaker, Ed25519PrivateKey]]

CONFIG = """
[sip]
port = {sip_port}

[rtp]
first_port = {first_rtp_port}
last_port = {last_rtp_port}

[control]
port = {control_port}

[metrics]
port = {metrics_port}
"""


@dataclass(frozen=True, slots=True)
class DemoSite:
    """Where the site lies and how it is reached."""

    directory: Path
    officer_key: Path
    sip_port: int
    control_port: int

    def centre_arguments(self) -> list[str]:
        """What the simulated contact centre must be told."""
        return [
            *("--recorder", f"127.0.0.1:{self.sip_port}"),
            *("--control", f"http://127.0.0.1:{self.control_port}"),
            *("--token-file", str(self.directory / "secrets" / "control.token")),
        ]


def agent_id(speaker: cast.Speaker) -> str:
    """An agent's id in agents.toml: the user part of the address."""
    return speaker.aor.removeprefix("sip:").partition("@")[0]


def prepare(
    directory: Path,
    *,
    sip_port: int = SIP_PORT,
    control_port: int = CONTROL_PORT,
    first_rtp_port: int = FIRST_RTP_PORT,
    last_rtp_port: int = LAST_RTP_PORT,
    metrics_port: int = 0,
    agent_keys: Path | None = None,
) -> DemoSite:
    """Make the directory, the agents with their keys, and their standing grants.

    `agent_keys` is a new directory beside it, for the agents' private keys; without one nobody has them afterwards.
    """
    keys = {
        agent_id(speaker): (speaker, Ed25519PrivateKey.generate())
        for speaker in (*cast.AGENTS_WITH_GRANT, cast.AGENT_WITHOUT_GRANT, cast.AGENT_EXPIRED_GRANT)
    }
    agents = "".join(_agent(name, speaker, key) for name, (speaker, key) in keys.items())
    ports = CONFIG.format(
        sip_port=sip_port,
        control_port=control_port,
        first_rtp_port=first_rtp_port,
        last_rtp_port=last_rtp_port,
        metrics_port=metrics_port,
    )
    officer_key = provision(directory, allow_unsigned_policy=True, config_text=ports, agents_text=agents)
    _import_grants(directory, keys)
    if agent_keys is not None:
        agent_keys.mkdir(mode=PRIVATE_DIRECTORY)
        for name, (_, key) in keys.items():
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            (agent_keys / f"{name}.pem").write_bytes(pem)
    return DemoSite(directory, officer_key, sip_port, control_port)


def _import_grants(directory: Path, keys: Keys) -> None:
    """Each agent but one signs; one did so too long ago."""
    now, signed = datetime.now(UTC), []
    for name, (speaker, key) in keys.items():
        if speaker == cast.AGENT_WITHOUT_GRANT:
            continue
        days_ago = 1 if speaker in cast.AGENTS_WITH_GRANT else GRANT_DAYS + 1
        given = now - timedelta(days=days_ago)
        signed.append(sign_grant(StandingGrant(name, TRAINING, given, given + timedelta(days=GRANT_DAYS), NOTICE), key))
    import_grants(load_config(directory), signed)


def _agent(name: str, speaker: cast.Speaker, key: Ed25519PrivateKey) -> str:
    public = base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    return (
        f'[[agent]]\nid = "{name}"\nteam = "hotline"\nstarted = "2026-01-01"\n'
        f'patterns = ["{speaker.aor}"]\nkey = "{public}"\n\n'
    )
