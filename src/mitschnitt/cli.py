"""The command line (design section 8): declares the verbs, does nothing itself.

Exit codes: 0 done, 1 refused (the rule is printed), 2 wrong usage, 3 not reachable, 4 verification failed.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mitschnitt import __version__
from mitschnitt.errors import ConfigError, MitschnittError, NotAllowed, PeerError
from mitschnitt.exit_codes import NOT_REACHABLE, REFUSED, WRONG_USAGE

app = typer.Typer(
    name="mitschnitt",
    help="Call recording for contact centres that asks first and can prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
call_app = typer.Typer(help="Calls: list them, look at one, ask why, erase one.", no_args_is_help=True)
draw_app = typer.Typer(help="The draw: which days can draw, and what fixes them.", no_args_is_help=True)
bench_app = typer.Typer(help="Measure on this machine, against a floor.", no_args_is_help=True)
policy_app = typer.Typer(help="The policy: which calls, who signs it, from when on.", no_args_is_help=True)
agents_app = typer.Typer(help="Agents: who works here, and what each of them agrees to.", no_args_is_help=True)
consent_app = typer.Typer(help="Your own standing consent, signed with your own key.", no_args_is_help=True)
figures_app = typer.Typer(help="Published figures of groups and months.", no_args_is_help=True)
app.add_typer(call_app, name="call")
app.add_typer(agents_app, name="agents")
agents_app.add_typer(consent_app, name="consent")
app.add_typer(figures_app, name="figures")
app.add_typer(policy_app, name="policy")
app.add_typer(draw_app, name="draw")
app.add_typer(bench_app, name="bench")

Directory = Annotated[
    Path, typer.Option("--dir", "-d", envvar="MITSCHNITT_DIR", help="The directory that `init` made.")
]
Role = Annotated[
    str, typer.Option("--as", help="Role that asks: caller, agent, coach, officer, council, operator, analyst, client.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PolicyHash = Annotated[str, typer.Argument(metavar="HASH", help="The policy's hash, or its first 8 digits.")]
Signer = Annotated[str, typer.Option("--as", help="Role that signs: officer, council, operator.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(help="A file of mode 0600 with the key's password; otherwise MITSCHNITT_ROLE_PASSWORD or a terminal."),
]
Key = Annotated[Path, typer.Option(help="The role's private key, as `policy key` made it.")]
AgentId = Annotated[str, typer.Option("--agent", help="The agent's id in agents.toml.")]
AgentKey = Annotated[Path, typer.Option("--key", help="The agent's private key; `mitschnitt agents key` makes it.")]
AgreedPurpose = Annotated[str, typer.Option("--purpose", help="A purpose of the policy, such as training.")]
AgentLanguage = Annotated[str, typer.Option("--language", help="de or en; otherwise the policy's language.")]
HERE = Path("mitschnitt-data")


def verb(name: str) -> Any:
    """The module of a verb, loaded only now: `--help` must not wait for numpy and the database."""
    return importlib.import_module(f"mitschnitt.commands.{name}")


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback form
    if wanted:
        typer.echo(f"mitschnitt {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[  # noqa: ARG001 - typer reads it through the callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Call recording for contact centres that asks first and can prove it."""


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="A directory that does not exist yet.")],
    allow_unsigned_policy: Annotated[
        bool, typer.Option("--allow-unsigned-policy", help="For trials: use the policy before anybody signed it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make data and keys directories, database, policy, prompts and role keys."""
    verb("init").run(directory, allow_unsigned_policy=allow_unsigned_policy, as_json=as_json)


@app.command()
def serve(
    directory: Directory = HERE,
    drain: Annotated[
        bool, typer.Option("--drain", help="End the running `serve`: no new calls, running ones go on to their ends.")
    ] = False,
    within: Annotated[
        str, typer.Option(metavar="TIME", help="With --drain: end calls that still run after 90s, 15m, 2h.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Run keeper and recorders; end them sealed on SIGTERM."""
    if drain:
        sys.exit(verb("drain").run(directory, within=within, as_json=as_json))
    sys.exit(verb("serve").run(directory))


@app.command()
def demo(
    scene: Annotated[str, typer.Option(help="Which scene: calls, or week: a week of draws without media.")] = "calls",
    calls: Annotated[int, typer.Option(min=1, max=500, help="How many calls.")] = 50,
    keep: Annotated[
        Path | None, typer.Option(help="Keep data and WAV: a new directory, and files of its name beside it.")
    ] = None,
) -> None:
    """Serve, plus a simulated contact centre with real SIP and RTP on loopback."""
    sys.exit(verb("demo").run(scene=scene, calls=calls, keep=keep))


@call_app.command("list")
def call_list(
    directory: Directory = HERE,
    key: Annotated[
        Path | None, typer.Option(help="With --as agent: your own private key; lists your kept calls.")
    ] = None,
    role: Role = "operator",
    as_json: AsJson = False,
) -> None:
    """All calls with one word each: live, kept or not_kept; of an agent the own kept ones."""
    verb("call_page").list_calls(directory, key=key, role=role, as_json=as_json)


@call_app.command("show")
def call_show(call: str, directory: Directory = HERE, role: Role = "operator", as_json: AsJson = False) -> None:
    """What this role may know of one call."""
    verb("call").show(call, directory, role=role, as_json=as_json)


@call_app.command("why")
def call_why(
    call: str,
    key: Annotated[
        Path | None, typer.Option(help="The private key of officer or agent; nothing else opens it.")
    ] = None,
    code_file: Annotated[
        Path | None,
        typer.Option(help="With --as caller: a file with the receipt code, - for standard input; else you are asked."),
    ] = None,
    language: Annotated[str, typer.Option(help="With --as caller or agent: de or en.")] = "de",
    directory: Directory = HERE,
    role: Role = "officer",
    as_json: AsJson = False,
) -> None:
    """Why a call was kept or not: the rule for the officer, the own page for caller and agent."""
    module = verb("call_page")
    module.why(call, directory, module.Means(key, code_file, language), role=role, as_json=as_json)


@call_app.command("erase")
def call_erase(call: str, directory: Directory = HERE, role: Role = "officer", as_json: AsJson = False) -> None:
    """Puncture the key of a call, then remove its files."""
    verb("call").erase(call, directory, role=role, as_json=as_json)


@policy_app.command("check")
def policy_check(
    policy: Annotated[
        str, typer.Argument(metavar="FILE", help="A policy's file, or the hash of one in the directory.")
    ],
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """What speaks against a policy, each with the article behind it."""
    sys.exit(verb("policy_check").run(policy, directory, as_json=as_json))


@policy_app.command("diff")
def policy_diff(
    old: Annotated[str, typer.Argument(help="The policy's file, or its hash.")],
    new: Annotated[str, typer.Argument(help="The other one; it need not be signed.")],
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """What changes from one policy to another, in words, by whom it concerns."""
    verb("policy_diff").run(old, new, directory, as_json=as_json)


@policy_app.command("propose")
def policy_propose(
    file: Annotated[Path, typer.Argument(help="The policy's TOML file.")],
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Keep a sound policy under its hash, for others to sign."""
    verb("policy_propose").run(directory, file, as_json=as_json)


@policy_app.command("sign")
def policy_sign(
    policy: PolicyHash,
    role: Signer,
    key: Annotated[Path, typer.Option(help="The private key that `policy key` made for this role.")],
    password_file: PasswordFile = None,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Sign a policy as officer or works council, with the own key."""
    verb("policy_sign").run(directory, policy, role, key=key, password_file=password_file, as_json=as_json)


@policy_app.command("activate")
def policy_activate(
    policy: PolicyHash,
    first: Annotated[
        str, typer.Option("--from", metavar="DAY", help="Its first day, 2026-11-26; otherwise tomorrow.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Also over days on which it then draws nobody.")] = False,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Let a policy that all have signed be in force from a later day on."""
    verb("policy_activate").run(directory, policy, first=first, force=force, as_json=as_json)


@policy_app.command("show")
def policy_show(
    policy: Annotated[str, typer.Argument(metavar="[HASH]", help="One policy; otherwise how the site stands.")] = "",
    roles: Annotated[bool, typer.Option("--roles", help="Who may do what, by which rule.")] = False,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Which policy is in force, which comes, and who signed what and when; with --roles who may do what."""
    if roles:
        verb("policy_roles").run(directory, policy, as_json=as_json)
        return
    verb("policy_show").run(directory, policy, as_json=as_json)


@policy_app.command("key")
def policy_key(
    role: Signer,
    out: Annotated[Path, typer.Option(help="Where the private key goes: a new file outside the directory.")],
    password_file: PasswordFile = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="In place of the enrolled key: its signatures count no longer.")
    ] = False,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a role's key, under a password, and enrol its public half."""
    verb("policy_key").run(directory, role, out=out, password_file=password_file, replace=replace, as_json=as_json)


@draw_app.command("commit")
def draw_commit(
    role: Signer,
    key: Key,
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="Tomorrow or later; or backward-PERIOD.")],
    days: Annotated[int, typer.Option(help="How many days, up to 100.")] = 7,
    values: Annotated[
        Path | None, typer.Option(help="Your own file of values; otherwise beside the key, named FILE.values.")
    ] = None,
    password_file: PasswordFile = None,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Make values for days to come, keep them in a file of your own, and commit to them."""
    verb("draw_commit").run(
        directory,
        role,
        key=key,
        password_file=password_file,
        first=first,
        days=days,
        values=values,
        as_json=as_json,
    )


@draw_app.command("reveal")
def draw_reveal(
    period: Annotated[
        str, typer.Argument(help="A day, ISO week or month: 2026-11-27, 2026-W48, 2026-11; or backward-PERIOD.")
    ],
    role: Signer,
    key: Key,
    values: Annotated[Path, typer.Option(help="The file of values that `draw commit` wrote.")],
    password_file: PasswordFile = None,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Tell your values, after the days' records are published and before the days begin."""
    verb("draw_reveal").run(
        directory, role, period, key=key, password_file=password_file, values=values, as_json=as_json
    )


@draw_app.command("days")
def draw_days(directory: Directory = HERE, as_json: AsJson = False) -> None:
    """Which days can draw, and whose value is missing: a missing value means nobody is asked."""
    verb("draw_days").run(directory, as_json=as_json)


@draw_app.command("round")
def draw_round(
    file: Annotated[Path | None, typer.Argument(help="A round of drand as its relays tell it, JSON.")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Ask the relay that [draw] drand_url names.")] = False,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Bring in the round of drand that fixes a day; it is verified before it is believed."""
    verb("draw_round").run(directory, file=file, fetch=fetch, as_json=as_json)


@draw_app.command("backward")
def draw_backward(
    period: Annotated[str, typer.Argument(help="A day, ISO week or month that is over.")],
    take: Annotated[int, typer.Option(min=1, help="How many calls of each stratum.")] = 1,
    by: Annotated[str, typer.Option(help="Strata: purpose or day.")] = "purpose",
    check: Annotated[bool, typer.Option("--check", help="Check the draw from its files.")] = False,
    role: Role = "officer",
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Draw from calls that are kept of a closed period: first the record, later, with its beacon, the picks."""
    sys.exit(verb("draw_backward").run(directory, period, take=take, by=by, check=check, role=role, as_json=as_json))


@draw_app.command("clock")
def draw_clock(
    day: Annotated[str, typer.Argument(help="Today, for example 2026-11-27.")],
    role: Signer,
    key: Key,
    password_file: PasswordFile = None,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Say which day it is, as works council or officer, after the keeper doubted its clock."""
    verb("draw_clock").run(directory, role, day, key=key, password_file=password_file, as_json=as_json)


@agents_app.command("list")
def agents_list(directory: Directory = HERE, role: Role = "operator", as_json: AsJson = False) -> None:
    """Who works here: id, first day, team. Who agreed to what is the agents' own; see `agents consent show`."""
    verb("agents").list_agents(directory, role=role, as_json=as_json)


@agents_app.command("key")
def agents_key(
    agent: AgentId,
    out: Annotated[Path, typer.Option(help="Where the private key goes: a new file outside the directory.")],
    password_file: PasswordFile = None,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Make an agent's key, under a password, and print the line for agents.toml."""
    verb("agents").make_key(directory, agent, out=out, password_file=password_file, as_json=as_json)


@consent_app.command("grant")
def consent_grant(
    agent: AgentId,
    purpose: AgreedPurpose,
    key: AgentKey,
    notice: Annotated[
        str, typer.Option(help="The version of the notice that was read; otherwise the one the policy names.")
    ] = "",
    months: Annotated[int, typer.Option(min=1, max=12, help="When it ends by itself.")] = 12,
    language: AgentLanguage = "",
    password_file: PasswordFile = None,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Read what you are asked for, and agree to it or not."""
    module = verb("agents_consent")
    signer = module.Signer(agent, key, password_file)
    module.grant(directory, signer, purpose, notice=notice, months=months, language=language, as_json=as_json)


@consent_app.command("withdraw")
def consent_withdraw(
    agent: AgentId,
    purpose: AgreedPurpose,
    key: AgentKey,
    language: AgentLanguage = "",
    password_file: PasswordFile = None,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Take your consent back: one step, in force at once, no reason asked."""
    module = verb("agents_consent")
    module.withdraw(directory, module.Signer(agent, key, password_file), purpose, language=language, as_json=as_json)


@consent_app.command("show")
def consent_show(
    agent: AgentId,
    key: AgentKey,
    language: AgentLanguage = "",
    password_file: PasswordFile = None,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """How it stands with your own consents; nobody else's."""
    module = verb("agents_consent")
    module.show(directory, module.Signer(agent, key, password_file), language=language, as_json=as_json)


@figures_app.command("show")
def figures_show(
    month: Annotated[str, typer.Argument(help="Such as 2026-11; it must be over.")],
    directory: Directory = HERE,
    role: Role = "operator",
    as_json: AsJson = False,
) -> None:
    """What is published of a month: shares of groups, with their intervals."""
    verb("figures").show(month, directory, role=role, as_json=as_json)


@app.command()
def play(
    call: str,
    out: Annotated[Path, typer.Option(help="The file to write, .wav, .flac or .opus; it must not exist.")],
    purpose: Annotated[str, typer.Option(help="What it is played for; it must be the purpose that was agreed.")],
    format: Annotated[str, typer.Option(help="wav, flac or opus, where the name does not say it.")] = "",  # noqa: A002 - the option's name
    side: Annotated[str, typer.Option(help="One party alone: caller, agent, ... Otherwise each has a channel.")] = "",
    begin: Annotated[str, typer.Option("--from", help="Begin: seconds, m:ss or h:mm:ss.")] = "",
    end: Annotated[str, typer.Option("--to", help="End, in the same form.")] = "",
    rate: Annotated[int, typer.Option(help="8000, 16000 or 48000 Hz; otherwise as high as what was received.")] = 0,
    peaks: Annotated[Path | None, typer.Option(help="Also write how loud each voice is, 20 times a second.")] = None,
    statement: Annotated[Path | None, typer.Option(help="Also write what was received and what is missing.")] = None,
    role: Role = "operator",
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Read a recording through the one door into a sound file, each party on a channel of its own; logged."""
    module = verb("play")
    wish = module.Wish(
        out, purpose, role, format=format, side=side, begin=begin, end=end, rate=rate, peaks=peaks, statement=statement
    )
    module.run(call, directory, wish, as_json=as_json)


@app.command()
def doctor(
    directory: Directory = HERE,
    client: Annotated[
        str, typer.Option(metavar="ADDR", help="An SBC instead: host[:port][;transport=udp|tcp|tls], IPv6 in brackets.")
    ] = "",
    wait: Annotated[
        int, typer.Option(min=0, max=600, help="With --client: seconds to wait for a test call; 0: none.")
    ] = 60,
    caller: Annotated[
        str, typer.Option(help="With --client: your own number or address, so that your test call is looked at whole.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check machine, directory and running processes, or an SBC; say what is wrong and what to do."""
    if client:
        module = verb("doctor_client")
        sys.exit(module.run(directory, module.Wish(client, wait, caller), as_json=as_json))
    sys.exit(verb("doctor").run(directory, as_json=as_json))


@draw_app.command("show")
def draw_show(
    period: Annotated[str, typer.Argument(help="A day 2026-11-26, an ISO week 2026-W48 or a month 2026-11.")],
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """What was seen, left out, drawn and capped, and what became of it, from the published lists; for every role."""
    sys.exit(verb("draw_show").run(period, directory, as_json=as_json))


@draw_app.command("verify")
def draw_verify(
    what: Annotated[
        list[str], typer.Argument(metavar="PERIOD|DIR|FILE...", help="Lists, folders of them, or a period.")
    ],
    policy: Annotated[list[Path] | None, typer.Option(help="The policy that the lists name; can be repeated.")] = None,
    signatures: Annotated[list[Path] | None, typer.Option(help="A signature on the policy; can be repeated.")] = None,
    keys: Annotated[Path | None, typer.Option(help="Folder with the public keys of the roles.")] = None,
    draw_id: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="HEX", help="Whether this draw_id, of a receipt, is there and drawn."),
    ] = None,
    council: Annotated[bool, typer.Option("--council", help="Also check the works council's bundles.")] = False,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> None:
    """Check lists of the draw, offline, from files alone: 0 nothing is wrong, 4 something is."""
    module = verb("draw_verify")
    wish = module.Wish(council, draw_id or (), policy or (), signatures or (), keys)
    sys.exit(module.run(what, directory, wish, as_json=as_json))


# The benches read their own options, `--help` among them.
OWN_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}


@bench_app.command("capture", add_help_option=False, context_settings=OWN_OPTIONS)
def bench_capture(context: typer.Context) -> None:
    """Our receiver with gate, journal and sealing against a bare C loop; `--help` shows the options."""
    sys.exit(verb("bench").run("capture", context.args))


@bench_app.command("curve", add_help_option=False, context_settings=OWN_OPTIONS)
def bench_curve(context: typer.Context) -> None:
    """CPU per packet from 100 to 20,000 streams, by both receivers and a bare C loop."""
    sys.exit(verb("bench").run("curve", context.args))


@bench_app.command("soak", add_help_option=False, context_settings=OWN_OPTIONS)
def bench_soak(context: typer.Context) -> None:
    """Calls come and go for half an hour: memory, open files and loss must stay flat."""
    sys.exit(verb("bench").run("soak", context.args))


@bench_app.command("calls", add_help_option=False, context_settings=OWN_OPTIONS)
def bench_calls(context: typer.Context) -> None:
    """Calls set up and torn down, and shed when there are too many; `--help` shows the options."""
    sys.exit(verb("bench").run("calls", context.args))


@bench_app.command("draw", add_help_option=False, context_settings=OWN_OPTIONS)
def bench_draw(context: typer.Context) -> None:
    """Ten million draws verified from their files, against a bare loop; `--help` shows the options."""
    sys.exit(verb("bench").run("draw", context.args))


@bench_app.command("play", add_help_option=False, context_settings=OWN_OPTIONS)
def bench_play(context: typer.Context) -> None:
    """Any second of an hour-long call through the door, and the hour as a file; `--help` shows the options."""
    sys.exit(verb("bench").run("play", context.args))


@bench_app.command("silence", add_help_option=False, context_settings=OWN_OPTIONS)
def bench_silence(context: typer.Context) -> None:
    """Whether the time of an answer tells why a call was not kept; `--help` shows the options."""
    sys.exit(verb("bench").run("silence", context.args))


def main() -> None:
    """Run a verb; errors become one sentence and an exit code."""
    try:
        app()
    except NotAllowed as error:
        typer.echo(f"refused: {error}", err=True)
        sys.exit(REFUSED)
    except ConfigError as error:
        typer.echo(f"mitschnitt: {error}", err=True)
        sys.exit(WRONG_USAGE)
    except PeerError as error:
        typer.echo(f"mitschnitt: {error}", err=True)
        sys.exit(NOT_REACHABLE)
    except MitschnittError as error:
        typer.echo(f"mitschnitt: {error}", err=True)
        sys.exit(REFUSED)
