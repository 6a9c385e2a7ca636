"""What is shipped beside the code: the unit fits what doctor and supervisor reckon, alerts name figures that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mitschnitt import config as config_module
from mitschnitt.commands.doctor import files_wanted
from mitschnitt.config import parse_config
from mitschnitt.keeper.days import ROUND_BEFORE
from mitschnitt.keeper.figures import table
from mitschnitt.recorder.figures import TABLE
from mitschnitt.recorder.ports import PortPool
from mitschnitt.supervisor import REFUSED_TO_START, SEAL_SECONDS
from source import ROOT

PACKAGING = ROOT / "packaging"
UNIT = (PACKAGING / "systemd" / "mitschnitt.service").read_text(encoding="utf-8")
RING = (PACKAGING / "systemd" / "ring.conf").read_text(encoding="utf-8")
ROUND = (PACKAGING / "systemd" / "mitschnitt-round.service").read_text(encoding="utf-8")
TIMER = (PACKAGING / "systemd" / "mitschnitt-round.timer").read_text(encoding="utf-8")
ALERTS = (PACKAGING / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
DELAYS = ("AccuracySec", "RandomizedDelaySec")
WORST_EXPOSURE = 2.0  # of systemd-analyze's ten; it says 1.5 of the unit today


def settings(text: str) -> dict[str, str]:
    """The settings of a unit, those that stand on several lines joined."""
    found: dict[str, str] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found[name] = f"{found[name]} {value}" if name in found else value
    return found


def test_the_unit_gives_the_open_files_that_doctor_reckons(tmp_path: Path) -> None:
    config = parse_config("", tmp_path)
    wanted = files_wanted(config, PortPool(config.rtp.first_port, config.rtp.last_port).free)
    assert wanted <= int(settings(UNIT)["LimitNOFILE"]) < 2 * wanted


def test_the_unit_waits_for_recorders_and_keeper_to_seal() -> None:
    assert float(settings(UNIT)["TimeoutStopSec"]) > 2 * SEAL_SECONDS


def test_the_unit_starts_nothing_again_whose_configuration_is_wrong() -> None:
    found = settings(UNIT)
    assert found["Restart"] == "on-failure"
    assert found["RestartPreventExitStatus"] == str(REFUSED_TO_START)
    assert (found["Type"], found["NotifyAccess"], found["KillMode"]) == ("notify", "main", "mixed")


def test_the_unit_keeps_memory_out_of_swap_and_dumps_and_takes_every_right_away() -> None:
    found = settings(UNIT)
    assert (found["LimitMEMLOCK"], found["LimitCORE"], found["UMask"]) == ("infinity", "0", "0077")
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == ""
    assert found["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6"
    hard = ("NoNewPrivileges", "MemoryDenyWriteExecute", "PrivateTmp", "PrivateDevices", "ProtectKernelModules")
    assert [found[name] for name in hard] == ["yes"] * len(hard)
    assert found["ProtectSystem"] == "strict"


def test_only_the_ring_gets_two_capabilities_and_what_they_are_for() -> None:
    assert settings(RING) == {
        "CapabilityBoundingSet": "CAP_NET_RAW CAP_BPF",
        "AmbientCapabilities": "CAP_NET_RAW CAP_BPF",
        "RestrictAddressFamilies": "AF_PACKET",
        "SystemCallFilter": "bpf capset",
    }


def test_user_and_directory_of_the_unit_are_those_that_are_made() -> None:
    found = settings(UNIT)
    (made,) = re.findall(
        r'^u (\S+) - ".*" (\S+)$', (PACKAGING / "sysusers.d/mitschnitt.conf").read_text(), re.MULTILINE
    )
    assert made == (found["User"], found["ReadWritePaths"])
    (place,) = re.findall(r"^d (\S+ \S+ \S+ \S+)", (PACKAGING / "tmpfiles.d/mitschnitt.conf").read_text(), re.MULTILINE)
    assert place == f"{found['ReadWritePaths']} {found['StateDirectoryMode']} {found['User']} {found['Group']}"
    assert found["Environment"] == f"MITSCHNITT_DIR={found['ReadWritePaths']}/site"


def test_the_receive_buffer_of_the_configuration_is_allowed() -> None:
    allowed = re.findall(r"net\.core\.rmem_max = (\d+)", (PACKAGING / "sysctl.d/mitschnitt.conf").read_text())
    assert allowed == [str(config_module.Rtp().receive_buffer_bytes)]


@pytest.mark.parametrize("name", ["mitschnitt.service", "mitschnitt-round.service"])
def test_systemd_itself_takes_the_unit_and_finds_little_exposed(tmp_path: Path, name: str) -> None:
    for path in (PACKAGING / "systemd").glob("mitschnitt*"):
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/mitschnitt/bin/mitschnitt", "/bin/true"))
    unit = tmp_path / name
    told = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (exposure,) = re.findall(rf"Overall exposure level for {re.escape(name)}: ([\d.]+)", rated)
    assert float(exposure) <= WORST_EXPOSURE


def test_systemd_itself_takes_the_timer(tmp_path: Path) -> None:
    for path in (PACKAGING / "systemd").glob("mitschnitt*"):
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/mitschnitt/bin/mitschnitt", "/bin/true"))
    command = ["systemd-analyze", "verify", str(tmp_path / "mitschnitt-round.timer")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


OF_SERVE_ALONE = {  # what the service has because it stays, receives, keeps keys in memory and writes
    "Type", "NotifyAccess", "StateDirectory", "StateDirectoryMode", "ExecStart", "Restart", "RestartSec",
    "RestartPreventExitStatus", "KillMode", "TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "LimitNOFILE",
    "LimitMEMLOCK", "ReadWritePaths", "WantedBy", "Description", "After",
}  # fmt: skip


def test_who_fetches_the_round_is_walled_in_as_the_service_is_and_writes_nothing() -> None:
    service, found = settings(UNIT), settings(ROUND)
    for name in service.keys() - OF_SERVE_ALONE:
        assert found[name] == service[name], name
    assert "ReadWritePaths" not in found
    assert found["ReadOnlyPaths"] == service["ReadWritePaths"]
    assert found["ExecStart"] == service["ExecStart"].replace(" serve", " draw round --fetch")
    assert found["Requisite"] == "mitschnitt.service"
    assert float(found["TimeoutStartSec"]) < 600  # over before the next run


def elapses(expression: str, *, after: str, count: int) -> list[datetime]:
    """When systemd itself would run, in UTC."""
    command = ["systemd-analyze", "calendar", f"--base-time={after}", f"--iterations={count}", expression]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env={"TZ": "UTC"}).stdout
    found = re.findall(r"^\s*(?:Next elapse|Iter\. #\d+|Iteration #\d+): \w+ ([\d-]+ [\d:]+) UTC$", told, re.MULTILINE)
    return [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in found]


@pytest.mark.parametrize(
    "zone, day",
    [
        ("Europe/Berlin", date(2026, 11, 27)),
        ("Asia/Kathmandu", date(2026, 11, 27)),  # a quarter of an hour beside everybody else's midnights
        ("America/Santiago", date(2026, 9, 6)),  # there is no midnight
        ("America/Havana", date(2026, 11, 1)),  # there are two
        ("America/Santiago", date(2026, 4, 5)),  # the hour before it comes twice
        ("Africa/Cairo", date(2026, 10, 30)),
        ("America/Nuuk", date(2026, 3, 29)),  # there is no hour before it
    ],
)
def test_the_timer_runs_between_the_round_and_the_midnight_of_its_day(zone: str, day: date) -> None:
    (expression,) = re.findall(r"^OnCalendar=(.* UTC)$", TIMER, re.MULTILINE)  # right on any machine
    midnight = datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)
    late = timedelta(seconds=sum(float(settings(TIMER)[name].rstrip("s")) for name in DELAYS))
    start = f"{midnight - timedelta(hours=3):%Y-%m-%d %H:%M:%S} UTC"
    runs = elapses(expression, after=start, count=24)
    assert len([run for run in runs if midnight - ROUND_BEFORE <= run < midnight - late]) == 6


def test_the_page_names_the_units_of_the_round() -> None:
    assert "mitschnitt-round.{service,timer}" in PAGE
    assert "systemctl enable --now mitschnitt-round.timer" in PAGE
    assert settings(TIMER)["WantedBy"] == "timers.target"


def rules() -> list[tuple[str, str]]:
    """(name, expression) of every alert; the file's form is as plain as this reads it."""
    blocks = re.split(r"^      - alert: ", ALERTS, flags=re.MULTILINE)[1:]
    found = []
    for block in blocks:
        name, *lines = block.rstrip().splitlines()
        keys = [line.strip().partition(":")[0] for line in lines if line.startswith("        ") and line[8] != " "]
        assert [key for key in keys if key != "for"] == ["expr", "labels", "annotations"], name
        found.append((name, next(line.partition("expr: ")[2] for line in lines if "expr: " in line)))
    return found


@pytest.mark.parametrize("name, expression", rules(), ids=lambda text: str(text)[:30])
def test_every_alert_asks_for_figures_that_there_are(name: str, expression: str) -> None:
    there = {figure.sample for figure in (*TABLE, *table(1))}
    asked = set(re.findall(r"mitschnitt_\w+", expression))
    assert asked - there == set()
    assert asked or expression == 'up{job="mitschnitt"} == 0'
    assert f"`{name}`" in PAGE


def test_prometheus_takes_the_rules_where_it_is_installed() -> None:
    assert len(rules()) == ALERTS.count("severity:") == ALERTS.count("summary:")
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "rules", str(PACKAGING / "prometheus/alerts.yml")], check=True)
