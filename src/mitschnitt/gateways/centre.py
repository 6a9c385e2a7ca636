"""The simulated contact centre: many calls at a rate, as a real SIPREC client with its own IVR.

    python -m mitschnitt.gateways.centre --recorder 127.0.0.1:15060 --control http://127.0.0.1:8471 \\
        --token-file FILE --calls 50 --rate 5

Prints one JSON object per line as calls move on. It speaks to a recorder only as any client would: SIP, RTP
and the control API. `--max-talk 6` makes calls of 15 s, of which 50 at 5 a second end after 25 s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random  # noqa: TID251 - a simulator takes a seeded Random
import resource
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import httpx

from mitschnitt.errors import ConfigError, PeerError
from mitschnitt.gateways import scenarios, speech
from mitschnitt.gateways.control_client import ControlClient, read_token
from mitschnitt.gateways.recording_session import Obedience
from mitschnitt.gateways.rtp_sender import RtpSender
from mitschnitt.gateways.simulated_call import Centre, SimulatedCall
from mitschnitt.gateways.sip_client import Recorder, SipClient
from mitschnitt.gateways.speech import Prompt
from mitschnitt.recorder.tls import Tls, TlsFiles
from mitschnitt.wire.g711 import Law

EXIT_DONE, EXIT_USAGE, EXIT_UNREACHABLE = 0, 2, 3  # design, section 8
MAX_CALLS = 100_000  # stream numbers are 10 * call + label and must fit 32 bits; nobody simulates more
FILES_PER_CALL = 4  # sockets: three streams at most, and one to spare
FILES_BESIDES = 64  # standard streams, SIP, HTTP, report

Emit = Callable[[dict[str, object]], None]


@dataclass(frozen=True)
class Options:
    """One run of the centre; `control` is None when nobody is to be asked."""

    recorder: Recorder
    control: str | None = None
    token_file: Path | None = None
    calls: int = 50
    rate: float = 5.0  # calls that start per second
    mix: str = "default"
    seed: int = 1
    stamped: bool = False
    obedience: Obedience = Obedience.OBEYS
    law: Law = Law.PCMA
    host: str = "127.0.0.1"  # our own address for SIP and RTP
    max_talk_seconds: float = 20.0  # above the longest dialogue: all are played whole
    tls: Path | None = None  # directory of certificate.pem, key.pem, client-ca.pem (the recorder's), clients


@dataclass(frozen=True)
class Summary:
    """What a run cost and kept to: `worst_late_ms` is the sender's, over all its ticks."""

    calls: int
    failed: int  # calls with an error in their row
    seconds: float
    cpu_seconds: float
    ticks: int
    skipped_ticks: int
    worst_late_ms: float


def main(argv: list[str]) -> int:
    """Plays the calls that the options ask for; exit codes as of the command line (design, section 8)."""
    try:
        options, report = parse_options(argv)
    except SystemExit as ended:
        return int(ended.code or 0)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    try:
        with _report_file(report) as rows, asyncio.Runner() as runner:
            summary = runner.run(play(options, progress=_line_to(sys.stdout), report=_line_to(rows)))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except PeerError as error:
        print(error, file=sys.stderr)
        return EXIT_UNREACHABLE
    _line_to(sys.stdout)({"summary": asdict(summary)})
    return EXIT_DONE


def parse_options(argv: list[str]) -> tuple[Options, Path | None]:
    """The run and where its report goes; raises SystemExit as argparse does, ConfigError for wrong values."""
    parser = argparse.ArgumentParser(prog="mitschnitt.gateways.centre", description=__doc__.splitlines()[0])
    parser.add_argument("--recorder", required=True, metavar="HOST:PORT")
    parser.add_argument("--control", metavar="URL", help="control API; without it nobody is asked")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="bearer token, mode 0600")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--rate", type=float, default=5.0, help="calls that start per second")
    parser.add_argument("--mix", default="default", help="default, or SCENARIO=SHARE,...")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stamp", action="store_true", help="mark every payload packet")
    parser.add_argument("--leaky", action="store_true", help="send in spite of a closed answer")
    parser.add_argument("--law", type=Law, choices=list(Law), default=Law.PCMA)
    parser.add_argument("--transport", choices=["udp", "tcp", "tls"], default="udp")
    parser.add_argument("--tls", type=Path, metavar="DIR", help="certificate.pem, key.pem, client-ca.pem, clients")
    parser.add_argument("--host", default="127.0.0.1", help="our own address for SIP and RTP")
    parser.add_argument("--max-talk", type=float, default=20.0, metavar="SECONDS", help="of each dialogue")
    parser.add_argument("--report", type=Path, metavar="FILE", help="one JSON row per call")
    chosen = parser.parse_args(argv)
    host, _, port = chosen.recorder.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(f"--recorder {chosen.recorder}: expected HOST:PORT")
    if not 0 < chosen.calls <= MAX_CALLS or not chosen.rate > 0 or not chosen.max_talk > 0:
        raise ConfigError(f"expected 1 to {MAX_CALLS} calls, and a rate and talk time above 0")
    if chosen.control and chosen.token_file is None:
        raise ConfigError("--control needs --token-file")
    if (chosen.transport == "tls") != (chosen.tls is not None):
        raise ConfigError("--transport tls needs --tls, and --tls needs it")
    scenarios.parse_mix(chosen.mix)
    options = Options(
        recorder=Recorder(host, int(port), chosen.transport.upper()),
        control=chosen.control,
        token_file=chosen.token_file,
        calls=chosen.calls,
        rate=chosen.rate,
        mix=chosen.mix,
        seed=chosen.seed,
        stamped=chosen.stamp,
        obedience=Obedience.LEAKS if chosen.leaky else Obedience.OBEYS,
        law=chosen.law,
        host=chosen.host,
        max_talk_seconds=chosen.max_talk,
        tls=chosen.tls,
    )
    return options, chosen.report


async def play(
    options: Options,
    *,
    progress: Emit,
    report: Emit,
    transport: httpx.AsyncBaseTransport | None = None,
    prompt_of: Callable[[str, str], Prompt] = speech.prompt,
) -> Summary:
    """All calls of one run; `report` gets a row per call as it ends.

    Raises PeerError when the recorder cannot be reached, ConfigError for a token file that is not fit.
    """
    _allow_files(options.calls)
    began, cpu = time.monotonic(), time.process_time()
    dice = random.Random(options.seed)  # noqa: S311 - ids of simulated calls, no secret
    tls = Tls(TlsFiles.in_directory(options.tls)) if options.tls is not None else None
    client = SipClient(options.recorder, host=options.host, tls=tls)
    control = _control(options, transport)
    sender = RtpSender()
    ticking = asyncio.ensure_future(sender.run())
    centre = Centre(
        control=control,
        client=client,
        sender=sender,
        recorder_host=options.recorder.host,
        media_host=options.host,
        obedience=options.obedience,
        stamped=options.stamped,
        law=options.law,
        max_talk_seconds=options.max_talk_seconds,
        prompt_of=prompt_of,
        now=lambda: datetime.now(UTC),
        progress=progress,
    )
    try:
        await client.open()
        if not await client.ping():
            raise PeerError(f"no recorder answers at {options.recorder.host}:{options.recorder.port}")
        failed = await _play_all(options, centre, dice, report)
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        await client.close()
        if control is not None:
            await control.close()
    return Summary(
        calls=options.calls,
        failed=failed,
        seconds=round(time.monotonic() - began, 3),
        cpu_seconds=round(time.process_time() - cpu, 3),
        ticks=sender.ticks,
        skipped_ticks=sender.skipped,
        worst_late_ms=round(sender.worst_late * 1000, 1),
    )


def _control(options: Options, transport: httpx.AsyncBaseTransport | None) -> ControlClient | None:
    if options.control is None or options.token_file is None:
        return None
    return ControlClient(
        options.control,
        read_token(options.token_file),
        # Random, not from the seed: a second run with the same seed is no repetition of the first's requests.
        new_key=lambda: uuid.uuid4().hex,
        transport=transport,
    )


async def _play_all(options: Options, centre: Centre, dice: random.Random, report: Emit) -> int:
    """Starts each call at its time and waits for all; how many rows carry an error."""
    shelf = speech.dialogues()
    kinds = scenarios.deal(scenarios.parse_mix(options.mix), options.calls)
    calls = [
        SimulatedCall(
            number,
            kind,
            shelf[number % len(shelf)],
            centre,
            dice=random.Random(dice.getrandbits(64)),  # noqa: S311 - as above
        )
        for number, kind in enumerate(kinds)
    ]
    begin = time.monotonic()
    failed = 0

    async def live(call: SimulatedCall, stopped: asyncio.Event) -> None:
        nonlocal failed
        with contextlib.suppress(TimeoutError):
            starts_in = begin + call.number / options.rate - time.monotonic()
            await asyncio.wait_for(stopped.wait(), max(0.0, starts_in))
        if stopped.is_set():
            return
        row = await call.run()
        failed += bool(row.get("errors"))
        report(row)

    with _stopping(calls) as stopped:
        await asyncio.gather(*(live(call, stopped) for call in calls))
    if options.control is not None and all(call.control_gone for call in calls):
        raise PeerError(f"no control API answers at {options.control}")
    return failed


@contextlib.contextmanager
def _stopping(calls: list[SimulatedCall]) -> Iterator[asyncio.Event]:
    """While inside, SIGTERM and SIGINT make every call hang up, and set the event."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        for call in calls:
            call.stop()

    caught: list[signal.Signals] = []
    # Outside the main thread (a test, a demo within a process) whoever owns the thread stops us.
    with contextlib.suppress(ValueError, RuntimeError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
            caught.append(number)
    try:
        yield stopped
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def _allow_files(calls: int) -> None:
    """Room for every stream's socket; ConfigError when the system gives less."""
    wanted = calls * FILES_PER_CALL + FILES_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted <= soft:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise ConfigError(f"{calls} calls need {wanted} open files; the system allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _report_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--report {path}: {error.strerror}") from error
    with file:
        yield file


def _line_to(file: TextIO | None) -> Emit:
    """Writes one JSON object per line, at once, so that a reader of the pipe sees it live."""

    def emit(entry: dict[str, object]) -> None:
        if file is not None:
            print(json.dumps(entry), file=file, flush=True)

    return emit


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
