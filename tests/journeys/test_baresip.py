"""Debian's baresip as an ordinary telephone that calls the recorder by mistake (design, section 4)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from journeys.running import running_site

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]

TALK_SECONDS = 3
CONFIG = """sip_listen 127.0.0.1:0
module_path /usr/lib/baresip/modules
module stdio.so
module g711.so
module aufile.so
module ausine.so
module_tmp account.so
module_app menu.so
audio_source ausine,440
audio_player aufile,/dev/null
"""


def baresip_path() -> str:
    """Where baresip is; skips without it."""
    found = shutil.which("baresip")
    if not found:
        pytest.skip("baresip is not installed (Debian: baresip-core)")
    return found


def telephone(baresip: str, directory: Path, address: str) -> str:
    """One call of TALK_SECONDS to that address; what baresip printed, with every SIP message."""
    (directory / "config").write_text(CONFIG)
    (directory / "accounts").write_text("<sip:phone@127.0.0.1>;regint=0\n")
    (directory / "contacts").write_text("")
    command = [baresip, "-s", "-f", str(directory), "-t", str(TALK_SECONDS), "-e", f"/dial {address}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace").replace("\r", "")


def test_an_ordinary_call_is_held_in_the_closed_form_and_leaves_nothing_behind(tmp_path: Path) -> None:
    baresip = baresip_path()
    home = tmp_path / "telephone"
    home.mkdir()
    with running_site(tmp_path) as site:
        said = telephone(baresip, home, f"sip:recorder@127.0.0.1:{site.demo.sip_port}")
        assert site.calls() == []
        assert not list(site.demo.directory.glob("audio/**/*.*"))
    answer = re.search(r"^SIP/2\.0 200 OK\n(?:.+\n)*CSeq: \d+ INVITE\n(?:.+\n)*\n((?:[a-z]=.*\n)+)", said, re.MULTILINE)
    assert answer is not None, said[-3000:]
    assert re.findall(r"^m=\w+ ([1-9]\d*) ", answer[1], re.MULTILINE), "a refused line: clients fail over"
    assert set(re.findall(r"^c=.*", answer[1], re.MULTILINE)) == {"c=IN IP4 0.0.0.0"}
    assert re.findall(r"^a=(inactive|recvonly|sendonly|sendrecv)", answer[1], re.MULTILINE) == ["inactive"]
    assert re.search(r"^BYE ", said, re.MULTILINE), "the telephone itself ended the call"
    rates = set(re.findall(r"audio=(\d+)/(\d+)", said))
    assert rates == {("0", "0")}, "a telephone that got the closed answer must send no audio"
