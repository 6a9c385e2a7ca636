"""`mitschnitt init DIR`: data and keys directories, database, policy, prompts, role keys. Never touches what exists."""

from __future__ import annotations

import hashlib
import json
import os
from importlib import resources
from pathlib import Path

import typer
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mitschnitt.config import Config, parse_config
from mitschnitt.errors import ConfigError, NoSpace
from mitschnitt.gateways.speech import Prompt, prompt_entries
from mitschnitt.gateways.speech import prompt as load_prompt
from mitschnitt.keeper.link import MAX_PATH_BYTES
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.policy_files import PolicyFiles
from mitschnitt.keeper.process import init_keeper_state

PRIVATE = 0o600
POLICY_NAME = "training, everybody is asked"
PROPOSED_NAME = "training, some calls are drawn"
STEPS = (
    "policy propose FILE",
    "policy key --as officer --out FILE",
    "policy key --as council --out FILE",
    "policy sign HASH --as officer --key FILE",
    "policy sign HASH --as council --key FILE",
    "policy activate HASH",
)
CONTROLLER = "not named yet"
NOTICE = "notice-training-1"  # the version of the text that agents are given before they agree
RETENTION = "P30D"  # upper end of what supervisory practice takes for training recordings

CONFIG = """\
# mitschnitt: one site. Every key has a default; `mitschnitt doctor` says what is wrong.
# Sections and their keys are described in docs/operating.md; unknown keys are errors.

[gate]
# A policy counts when officer and works council have signed it. This switch uses it unsigned: for trials only.
allow_unsigned_policy = {unsigned}
"""

POLICY = """\
# What applies to every call. Its name is the SHA-256 of this file; a change is a new file.
name = "{name}"
language = "de"
languages = ["de", "en"]
timezone = "Europe/Berlin"             # days of the draw begin at its midnight
signed_by = ["officer", "council"]     # in force only when all of them have signed

[controller]        # who answers for it, as callers and agents are told (Art. 13 GDPR)
name = "{controller}"

[[purpose]]
id = "training"
records = true      # the purpose that audio is kept for
retention = "{retention}"
caller = "consent"
agent = "consent"   # given apart from the contract, after a notice in text form (section 26(2) BDSG)
third = "consent"
notice = "{notice}"
roles = ["coach"]

{draw}
[asking]
mode = "announced"  # the IVR posts call, prompt and end of prompt; "asserted" lets the policy say so instead
window_s = 12       # an answer counts from the end of the prompt until then
yes = "1"
no = "2"
withdraw = "*9"
pause = "*0"
"""

EVERYBODY = """\
[draw]
beacon = "none"     # nothing is drawn while every rate is 1; otherwise "commit" or "drand"

[[stratum]]
name = "everybody"
when = "true"       # of queue, direction, hour, weekday (Monday is 1) and tenure_days (-1: not known)
rate = 1            # share of its calls that are drawn
"""

SOME = """\
[draw]
beacon = "commit"   # values of officer, works council and operator fix each day's draw; or "drand"

[[stratum]]
name = "new agents"
when = "tenure_days >= 0 && tenure_days < 90"
rate = 0.04         # share of its calls that are drawn

[[stratum]]
name = "all others"
when = "true"       # of queue, direction, hour, weekday (Monday is 1) and tenure_days (-1: not known)
rate = 0.02

[caps]              # recording everything is unlawful at work (Federal Labour Court, 1 ABR 46/15)
agent_week = 3      # calls of one agent that are drawn in a week
agent_share = 0.05  # of the calls of one agent
share = 0.03        # of all calls
"""

PROMPT = """
[[prompt]]
name = "{name}"
language = "{language}"
sha256 = "{sha256}"
length_ms = {length_ms}
"""

AGENTS = """\
# Who works here: by which addresses of record an agent is known. No consent stands in this file.
#
# [[agent]]
# id = "a.muster"
# team = "hotline"
# started = "2026-01-01"
# patterns = ["sip:a.muster@pbx.example"]
# key = "..."       # the agent's Ed25519 public key, base64
"""


def run(directory: Path, *, allow_unsigned_policy: bool, as_json: bool) -> None:
    """Make everything, or say what is in the way (ConfigError) and change nothing."""
    officer = provision(directory, allow_unsigned_policy=allow_unsigned_policy)
    keys = parse_config("", directory).kek_dir
    if as_json:
        typer.echo(json.dumps({"directory": str(directory), "keys": str(keys), "officer_key": str(officer)}))
        return
    typer.echo(f"made {directory} and {keys}")
    typer.echo(f"officer's private key: {officer}  (hand it over and remove it from this machine)")
    if allow_unsigned_policy:
        typer.echo(f"next: write {directory / 'agents.toml'}, then `mitschnitt serve --dir {directory}`")
        return
    policies = Policies(directory)
    (digest,) = policies.files.known()
    typer.echo(f"proposed policy: {policies.files.text_path(digest)}  (copy it, name the controller, propose the copy)")
    typer.echo(f"write {directory / 'agents.toml'}; a policy is in force when all have signed it and its day begins:")
    for command in STEPS:
        typer.echo(f"  mitschnitt {command} --dir {directory}")
    typer.echo("until then `mitschnitt serve` refuses to start, and says which command comes next")


def provision(
    directory: Path, *, allow_unsigned_policy: bool, config_text: str = "", agents_text: str = AGENTS
) -> Path:
    """Make everything; returns the path of the officer's private key.

    ConfigError when something is in the way, NoSpace when the disk takes no more. A crash leaves places that were
    new a moment ago and that `serve` refuses, as the database comes last; the next `init` names them.
    """
    text = CONFIG.format(unsigned=str(allow_unsigned_policy).lower()) + config_text
    config = parse_config(text, directory)
    directory = config.directory
    officer_dir = directory.with_name(directory.name + ".officer")
    _refuse_what_exists(config, officer_dir)
    try:
        return _make(config, officer_dir, text, agents_text)
    except OSError as error:
        made = ", ".join(str(place) for place in (directory, config.kek_dir, officer_dir) if place.exists())
        left = f"; remove what was begun: {made}" if made else ""
        raise NoSpace(f"init: cannot make {error.filename or directory}: {error.strerror}{left}") from error


def _refuse_what_exists(config: Config, officer_dir: Path) -> None:
    directory = config.directory
    if os.path.lexists(directory):
        raise ConfigError(f"init: {directory} exists; init makes a new directory and never changes one")
    longest = len(os.fsencode(config.run / "keeper.sock"))
    if longest > MAX_PATH_BYTES:
        raise ConfigError(
            f"init: {directory} is too long a path: its sockets would take {longest} bytes, at most {MAX_PATH_BYTES}"
        )
    for place in (config.kek_dir, officer_dir):
        if os.path.lexists(place):
            raise ConfigError(f"init: {place} exists, {directory} does not; keys of another directory are not reused")


def _make(config: Config, officer_dir: Path, text: str, agents_text: str) -> Path:
    directory = config.directory
    for place in (
        directory,
        officer_dir,
        *(directory / name for name in ("policy", "prompts", "roles", "secrets", "run")),
    ):
        place.mkdir(mode=0o700, parents=True)
    _write(directory / "config.toml", text.encode())
    _write(directory / "agents.toml", agents_text.encode())
    _policy(directory, config)
    officer = _officer_key(config, officer_dir)
    init_keeper_state(config)
    return officer


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def policy_text(prompts: list[Prompt], *, mode: str = "announced", draw: str = EVERYBODY) -> bytes:
    """The policy that `init` writes, with these prompts; `draw` says which calls are drawn."""
    name = POLICY_NAME if draw == EVERYBODY else PROPOSED_NAME
    head = POLICY.format(name=name, retention=RETENTION, controller=CONTROLLER, notice=NOTICE, draw=draw).replace(
        '"announced"', f'"{mode}"', 1
    )
    tail = "".join(
        PROMPT.format(name=item.name, language=item.language, sha256=item.sha256, length_ms=item.length_ms)
        for item in prompts
    )
    return (head + tail).encode()


def _policy(directory: Path, config: Config) -> None:
    prompts, further = (
        [load_prompt(entry["name"], entry["language"]) for entry in prompt_entries(kind)]
        for kind in ("prompt", "further")
    )
    for item in (*prompts, *further):  # for the day on which a policy has a further purpose
        _write(directory / "prompts" / f"{item.name}.{item.language}.pcma", item.audio)
    _write(
        directory / "prompts" / "prompts.toml",
        (resources.files("mitschnitt.gateways") / "prompts" / "prompts.toml").read_bytes(),
    )
    if config.gate.allow_unsigned_policy:
        activate(directory, policy_text(prompts))
    else:
        PolicyFiles(directory).write(policy_text(prompts, draw=SOME))


def activate(directory: Path, text: bytes) -> str:
    """Write a policy under its hash and make it the active one; its hash. (Signing comes before, where asked for.)"""
    digest = hashlib.sha256(text).hexdigest()
    path = directory / "policy" / f"{digest}.toml"
    if not path.exists():
        _write(path, text)
    temporary = directory / "policy" / "active.new"
    temporary.unlink(missing_ok=True)
    _write(temporary, f"{digest}\n".encode())
    temporary.replace(directory / "policy" / "active")
    return digest


def _officer_key(config: Config, officer_dir: Path) -> Path:
    private = X25519PrivateKey.generate()
    path = officer_dir / "officer.x25519.pem"
    _write(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    _write(config.directory / "secrets" / "officer.x25519.pub", public)
    return path
