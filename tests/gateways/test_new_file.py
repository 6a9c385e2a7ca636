"""A new file is whole or not there, whoever ends the command and however."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mitschnitt.errors import ConfigError, NoSpace
from mitschnitt.gateways.new_file import NewFile, write_new


@pytest.fixture(name="nameless", params=[True, False], ids=["nameless", "hidden"], autouse=True)
def with_and_without_nameless_files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both kinds of file system; the second is played by an open that knows no O_TMPFILE."""
    really = os.open

    def old(path: object, flags: int, mode: int = 0o777, **more: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return really(path, flags, mode, **more)  # type: ignore[arg-type]  # as it was called

    if not request.param:
        monkeypatch.setattr(os, "open", old)
    return bool(request.param)


def test_it_has_its_name_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    out = tmp_path / "call.wav"
    with NewFile(out) as file:
        file.write(b"abc")
        file.seek(1)
        file.write(b"X")
        assert file.tell() == 2
        assert file.read() == b"c"
        assert not out.exists()
        file.commit()
    assert out.read_bytes() == b"aXc"
    assert [path.name for path in tmp_path.iterdir()] == ["call.wav"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_what_fails_before_its_end_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with NewFile(tmp_path / "call.wav") as file:
            file.write(b"abc")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_another_file_of_that_name_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "call.wav"
    with NewFile(out) as file:
        file.write(b"abc")
        out.write_bytes(b"mine")
        with pytest.raises(ConfigError, match="call.wav exists; play-back writes new files only"):
            file.commit()
    assert out.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["call.wav"]


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "call.wav").symlink_to(tmp_path / "elsewhere")
    with NewFile(tmp_path / "call.wav") as file, pytest.raises(ConfigError, match="exists"):
        file.commit()
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoSpace, match="nowhere/call.wav cannot be written"):
        NewFile(tmp_path / "nowhere" / "call.wav")


@pytest.fixture(name="small_disk")
def limit_files() -> Iterator[None]:
    """Writes beyond 4 KiB fail, as they do on a full disk (setrlimit(2): EFBIG, with SIGXFSZ ignored by Python)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_is_told_when_somebody_asks_and_leaves_nothing(
    tmp_path: Path, small_disk: None
) -> None:
    with NewFile(tmp_path / "call.wav") as file:
        assert file.write(bytes(100_000)) == 100_000
        with pytest.raises(NoSpace, match="call.wav cannot be written: File too large"):
            file.check()
        with pytest.raises(NoSpace):
            file.commit()
    assert list(tmp_path.iterdir()) == []


def test_a_small_file_is_written_at_once(tmp_path: Path) -> None:
    write_new(tmp_path / "peaks.json", b"{}")
    assert (tmp_path / "peaks.json").read_bytes() == b"{}"


KILLED = """
import os, signal, sys
from pathlib import Path
from mitschnitt.gateways.new_file import NewFile
with NewFile(Path(sys.argv[1])) as file:
    file.write(b"what somebody said")
    file.check()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_command_that_is_killed_leaves_nothing_where_files_may_be_nameless(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "call.wav")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
