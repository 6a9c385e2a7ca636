"""Debian's sipp, run with one of our scenarios; what it sent and received can be read while it runs."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

HOST = "127.0.0.1"
SCENARIOS = Path(__file__).parent / "sipp"
PART = re.compile(r"<\?part (\w+)([^?]*)\?>")
ARGUMENT = re.compile(r'(\w+)="([^"]*)"')
HOLE = re.compile(r"%(\w+)%")
END_OF_LINE = "[[:cntrl:]]{2}"  # CR LF, as an expression in a scenario can say it
HOLES = {  # of every scenario, and what they say unless it is told otherwise
    "eol": END_OF_LINE,
    "family": "4",
    "here": r"127\.0\.0\.1",
    "nowhere": r"0\.0\.0\.0",
    "port0": "30698",
    "port1": "30700",
    "metadata": "metadata",  # which part
    "told_lines": '<?part told_line label="0"?><?part told_line label="1"?>',
}
HOLES_6 = {"family": "6", "here": "::1", "nowhere": "::"}
NOTHING_GIVEN: Mapping[str, str] = MappingProxyType({})
WAIT_SECONDS = 60.0  # for something that takes milliseconds on an idle machine


def sipp_path() -> str:
    """Where sipp is; skips without it."""
    found = shutil.which("sipp")
    if not found:
        pytest.skip("sipp is not installed (Debian: sip-tester)")
    return found


def render(text: str, given: Mapping[str, str]) -> str:
    """The text with `<?part NAME key="value"?>` replaced by that part, and `%key%` in it by the value."""

    def part(found: re.Match[str]) -> str:
        inner = (SCENARIOS / "parts" / f"{found[1]}.part").read_text(encoding="utf-8").removesuffix("\n")
        return render(inner, {**given, **dict(ARGUMENT.findall(found[2]))})

    return PART.sub(part, HOLE.sub(lambda hole: given[hole[1]], text))


def line_parts(*ports: str) -> str:
    """One m-line for each port, labelled by its place."""
    return "\n".join(f'<?part line label="{place}" port="{port}"?>' for place, port in enumerate(ports))


@dataclass(frozen=True)
class Told:
    """What one description of the recorder asked for."""

    direction: str
    in_order: tuple[int, ...]  # of its lines

    @property
    def ports(self) -> frozenset[int]:
        """All of its ports."""
        return frozenset(self.in_order)


@dataclass
class SippRun:
    """One sipp, and the calls that it makes."""

    process: subprocess.Popen[bytes]
    directory: Path

    @property
    def messages(self) -> str:
        """Every message so far, as sipp logged it."""
        path = self.directory / "messages.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def wait_for(self, pattern: str, count: int = 1) -> None:
        """Until so many messages match; AssertionError when they do not come."""
        deadline = time.monotonic() + WAIT_SECONDS
        while len(re.findall(pattern, self.messages)) < count:
            assert time.monotonic() < deadline, f"no {pattern}: {self.messages[-3000:]}"
            assert self.process.poll() is None, f"sipp ended before {pattern}: {self.said()}"
            time.sleep(0.01)

    def told(self) -> list[Told]:
        """The recorder's descriptions, in order; for runs of one call."""
        found = []
        for message in self.messages.split("\n-------"):
            ports = re.findall(r"^m=\w+ (\d+) ", message, re.MULTILINE)
            if ports and " message received " in message:
                taken = "".join(line for line in message.split("\nm=")[1:] if not re.match(r"\w+ 0 ", line))
                directions = set(re.findall(r"^a=(inactive|recvonly|sendonly|sendrecv)", taken, re.MULTILINE))
                assert len(directions) == 1, f"the lines of one description differ: {message}"
                found.append(Told(directions.pop(), tuple(int(port) for port in ports)))
        return found

    def said(self) -> str:
        """Why a call failed, and the last messages."""
        errors = self.directory / "errors.log"
        why = errors if errors.exists() else self.directory / "output.log"
        return why.read_text(encoding="utf-8", errors="replace")[-2000:] + self.messages[-4000:]

    def wait_for_end(self, seconds: float = 30.0) -> int:
        """Until all calls are over, however they went; sipp's exit code."""
        try:
            return self.process.wait(seconds)
        finally:
            self.stop()

    def stop(self) -> None:
        """No more of it."""
        self.process.kill()
        self.process.wait()

    def finish(self, seconds: float = 30.0) -> None:
        """Until all calls are over; AssertionError when one did not go as its scenario says."""
        code = self.wait_for_end(seconds)
        assert code == 0, f"sipp said {code}: {self.said()}"


def start_sipp(
    scenario: str,
    transport: str,
    port: int,
    directory: Path,
    fields: Sequence[Sequence[str]],
    *,
    seconds: int = 20,
    given: Mapping[str, str] = NOTHING_GIVEN,
    text: str | None = None,
    host: str = HOST,
    options: Sequence[str] = (),
) -> SippRun:
    """sipp in the background: one call for each row of `fields`, which the scenario knows as [field0], [field1].

    `text` is a scenario that has no file; `given` fills its holes; `options` are more of sipp's own.
    """
    directory.mkdir()
    six = ":" in host
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET) as probe:
        probe.bind((host, 0))
        local = probe.getsockname()[1]
    holes = {**HOLES, **(HOLES_6 if six else {}), **given}
    holes.setdefault("lines", line_parts(holes["port0"], holes["port1"]))
    text = render(text or (SCENARIOS / f"{scenario}.xml").read_text(encoding="utf-8"), holes)
    (directory / "scenario.xml").write_text(text, encoding="utf-8")
    body = render('<?part multipart direction="sendonly"?>', holes)  # with LF, of the first call
    body = body.replace("[field0]", fields[0][0])
    body = body.replace("[media_ip_type]", "6" if six else "4").replace("[media_ip]", host)
    (directory / "body.lf").write_text(body + "\n", encoding="utf-8", newline="\n")
    rows = "".join(";".join(row) + ";\n" for row in fields)
    (directory / "calls.csv").write_text(f"SEQUENTIAL\n{rows}", encoding="utf-8")
    command = [sipp_path(), f"[{host}]:{port}" if six else f"{host}:{port}", "-sf", "scenario.xml", "-inf", "calls.csv"]
    command += ["-t", "u1" if transport == "UDP" else "t1", "-i", host, "-p", str(local)]
    command += ["-m", str(len(fields)), "-r", "20", "-nostdin", "-timeout", f"{seconds}s", "-timeout_error"]
    command += ["-trace_err", "-error_file", "errors.log", "-trace_msg", "-message_file", "messages.log", *options]
    with (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=subprocess.STDOUT)
    return SippRun(process, directory)
