"""Debian's baresip as an ordinary telephone that calls the recorder by mistake (design, section 4)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from journeys.scripted_recorder import running_recorder
from mitschnitt.wire.sip.events import AckReceived, ByeReceived
from mitschnitt.wire.sip.recording import InviteKind

pytestmark = pytest.mark.journey

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
    """Where baresip is; skips without it, or fails when skips are forbidden."""
    found = shutil.which("baresip")
    if not found:
        reason = "baresip is not installed (Debian: baresip-core)"
        if os.environ.get("CI_NO_SKIP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def test_an_ordinary_call_is_held_in_the_closed_form_and_sends_nothing(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "accounts").write_text("<sip:phone@127.0.0.1>;regint=0\n")
    (tmp_path / "contacts").write_text("")
    with running_recorder() as recorder:
        command = [baresip_path(), "-f", str(tmp_path), "-t", str(TALK_SECONDS)]
        command += ["-e", f"/dial sip:recorder@{recorder.host}:{recorder.port}"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )
        assert recorder.reported(AckReceived, 1), done.stdout[-2000:]
        assert recorder.reported(ByeReceived, 1), done.stdout[-2000:]
        assert recorder.kinds == [InviteKind.ORDINARY]
    rates = set(re.findall(r"audio=(\d+)/(\d+)", done.stdout + done.stderr))
    assert rates == {("0", "0")}, "a telephone that got the closed answer must send no audio"
