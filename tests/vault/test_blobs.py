"""Twin of vault/blobs: one contract for every kind of blobs, then what only a disk does."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mitschnitt
from examples import many
from mitschnitt.errors import Damaged, NoSpace, VaultError
from mitschnitt.vault import blobs as module
from mitschnitt.vault.blobs import TEMP_PREFIX, Blobs, LocalBlobs, MemoryBlobs, checked_name

NAME = "3M/3M5T0A6ZV4Q9H2W7XKJDR8CBNE/0.media"


@pytest.fixture(params=["local", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return LocalBlobs(tmp_path) if request.param == "local" else MemoryBlobs()


def put(blobs: Blobs, name: str, *parts: bytes) -> None:
    writer = blobs.create(name)
    for part in parts:
        writer.write(part)
    writer.commit()


# --- the contract ---------------------------------------------------------------------------------------


def test_what_was_committed_is_read_back(blobs: Blobs) -> None:
    put(blobs, NAME, b"one", b"", b"two")
    assert (blobs.read(NAME, 0, 6), blobs.size(NAME)) == (b"onetwo", 6)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 4), (2, 4), (3, 100), (10, 10), (10, 11), (50, 60)])
def test_a_range_is_cut_at_the_end_as_a_slice_is(blobs: Blobs, start: int, stop: int) -> None:
    put(blobs, NAME, b"0123456789")
    assert blobs.read(NAME, start, stop) == b"0123456789"[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, -1)])
def test_ranges_that_are_none_are_refused(blobs: Blobs, start: int, stop: int) -> None:
    put(blobs, NAME, b"0123456789")
    with pytest.raises(VaultError, match=f"0 <= start <= stop, got {start} to {stop}"):
        blobs.read(NAME, start, stop)


def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    put(blobs, NAME)
    assert (blobs.size(NAME), blobs.read(NAME, 0, 9), list(blobs.names())) == (0, b"", [NAME])


def test_nobody_sees_a_blob_before_its_commit(blobs: Blobs) -> None:
    writer = blobs.create(NAME)
    writer.write(b"half")
    assert list(blobs.names()) == []
    with pytest.raises(VaultError):
        blobs.size(NAME)
    writer.commit()
    assert list(blobs.names()) == [NAME]


def test_an_aborted_blob_never_was(blobs: Blobs) -> None:
    writer = blobs.create(NAME)
    writer.write(b"half")
    writer.abort()
    writer.abort()
    assert list(blobs.names()) == []
    with pytest.raises(VaultError, match="committed or aborted"):
        writer.write(b"more")
    with pytest.raises(VaultError, match="committed or aborted"):
        writer.commit()
    put(blobs, NAME, b"whole")
    assert blobs.read(NAME, 0, 9) == b"whole"


def test_an_abort_after_the_commit_changes_nothing(blobs: Blobs) -> None:
    writer = blobs.create(NAME)
    writer.commit()
    writer.abort()
    assert list(blobs.names()) == [NAME]
    with pytest.raises(VaultError, match="committed or aborted"):
        writer.write(b"more")


def test_a_blob_is_never_replaced(blobs: Blobs) -> None:
    first, second = blobs.create(NAME), blobs.create(NAME)
    first.write(b"first")
    second.write(b"second")
    first.commit()
    with pytest.raises(VaultError, match="exists already"):
        second.commit()
    second.abort()
    assert (blobs.read(NAME, 0, 9), list(blobs.names())) == (b"first", [NAME])


def test_a_deleted_blob_is_gone_and_its_name_is_free(blobs: Blobs) -> None:
    put(blobs, NAME, b"old")
    blobs.delete(NAME)
    blobs.delete(NAME)
    assert list(blobs.names()) == []
    with pytest.raises(VaultError, match=NAME):
        blobs.read(NAME, 0, 1)
    put(blobs, NAME, b"new")
    assert blobs.read(NAME, 0, 9) == b"new"


def test_names_are_listed_by_prefix_and_ascending(blobs: Blobs) -> None:
    made = ["a", "ab/0.media", "ab/0.timeline", "ab/10.media", "ab/2.media", "ab-c/x", "b/c/d", "b/c.d"]
    for name in made:
        put(blobs, name)
    found = {prefix: list(blobs.names(prefix)) for prefix in ("", "a", "ab/", "ab/0", "b/c", "b/c/", "no/", "a/")}
    assert found == {prefix: sorted(name for name in made if name.startswith(prefix)) for prefix in found}


STRANGE = ["/", "/etc/passwd", "..", "a/../b", "a/..", "../a", "a//b", "a/", ".hidden", "a/.tmp-1"]
STRANGE += ["", "a b", "ä", "a\n", "a\\b", "a\0b", "x" * 201]


@pytest.mark.parametrize("name", STRANGE)
def test_names_that_could_leave_or_hide_are_refused(blobs: Blobs, name: str) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: blobs.create(name),
        lambda: blobs.read(name, 0, 1),
        lambda: blobs.size(name),
        lambda: blobs.delete(name),
    ]
    for attempt in attempts:
        with pytest.raises(VaultError, match="not a blob's name"):
            attempt()


@pytest.mark.parametrize("prefix", ["../", "/", "a/../../", ".hidden/"])
def test_listings_do_not_leave_the_root(blobs: Blobs, prefix: str) -> None:
    with pytest.raises(VaultError, match="not a blob's name"):
        list(blobs.names(prefix + "x"))


def test_a_sweep_leaves_living_writers_and_blobs_alone(blobs: Blobs) -> None:
    put(blobs, "a/old", b"old")
    writer = blobs.create(NAME)
    writer.write(b"in time")
    assert blobs.sweep() == 0
    writer.commit()
    assert list(blobs.names()) == [NAME, "a/old"]


@pytest.mark.thorough
@given(st.text(max_size=12))
@settings(max_examples=many(300), deadline=None)
def test_no_accepted_name_points_outside_or_hides(name: str) -> None:
    try:
        checked_name(name)
    except VaultError:
        return
    root = Path("/root-of-blobs")
    assert os.path.normpath(root / name) == f"{root}/{name}"
    assert not any(part.startswith(".") for part in name.split("/"))


# --- the disk -------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here: nothing of ours runs afterwards."""


def crash(*_: object, **__: object) -> None:
    raise Crash


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def forgotten_by_a_crash(writer: object) -> None:
    """What the kernel does when the process ends: its descriptors, and so its locks, go."""
    os.close(writer._descriptor)  # type: ignore[attr-defined]


def test_files_and_directories_are_for_the_owner_only(tmp_path: Path) -> None:
    put(LocalBlobs(tmp_path), NAME, b"x")
    modes = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    folder = NAME.rpartition("/")[0]
    assert modes == {"3M": 0o700, folder: 0o700, NAME: 0o600}


def test_a_root_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="does not exist"):
        LocalBlobs(tmp_path / "lost mount")


def test_a_deleted_call_leaves_no_directory_that_names_it(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    put(blobs, "ab/CALL/0.media")
    put(blobs, "ab/CALL/1.media")
    blobs.delete("ab/CALL/0.media")
    assert files_below(tmp_path) == ["ab/CALL/1.media"]
    blobs.delete("ab/CALL/1.media")
    assert list(tmp_path.iterdir()) == []


def test_foreign_files_and_links_are_not_blobs(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    put(blobs, "ab/0.media", b"ours")
    (tmp_path / "ab" / "note with spaces").write_text("x")
    (tmp_path / "ab" / "1.media").symlink_to("/etc/hostname")
    assert list(blobs.names()) == ["ab/0.media"]
    with pytest.raises(VaultError, match="reading blob ab/1.media"):
        blobs.read("ab/1.media", 0, 10)


@pytest.mark.parametrize(
    ("step", "visible"),
    [
        pytest.param("fdatasync", [], id="before the link"),
        pytest.param("link", [], id="at the link"),
        pytest.param("unlink", [NAME], id="between link and unlink"),
        pytest.param("fsync", [NAME], id="before the directory is synced"),
    ],
)
def test_a_crash_inside_commit_leaves_a_whole_blob_or_none_and_the_rest_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, visible: list[str]
) -> None:
    writer = LocalBlobs(tmp_path).create(NAME)
    writer.write(b"whole")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, crash)
        with pytest.raises(Crash):
            writer.commit()
    forgotten_by_a_crash(writer)
    blobs = LocalBlobs(tmp_path)
    assert list(blobs.names()) == visible
    left_over = [name for name in files_below(tmp_path) if TEMP_PREFIX in name]
    assert blobs.sweep() == len(left_over) == (0 if step == "fsync" else 1)
    assert files_below(tmp_path) == visible
    assert [blobs.read(name, 0, 9) for name in visible] == [b"whole"] * len(visible)
    if not visible:
        put(blobs, NAME, b"again")
        assert blobs.read(NAME, 0, 9) == b"again"


def test_two_deletes_at_once_may_take_the_same_directories_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobs(tmp_path)
    for name in ("ab/call-1/0.media", "ab/call-2/0.media"):
        put(blobs, name, b"x")
    sync, others = module.sync_directory, ["ab/call-2/0.media"]
    synced: list[Path] = []

    def overtaken(directory: Path) -> None:
        if directory == tmp_path / "ab" and others:
            blobs.delete(others.pop())  # takes ab/ away, too, before the first delete can sync it
        sync(directory)
        synced.append(directory)

    monkeypatch.setattr(module, "sync_directory", overtaken)
    blobs.delete("ab/call-1/0.media")
    assert list(tmp_path.iterdir()) == []
    assert synced[-1] == tmp_path


def test_a_crash_while_deleting_is_finished_by_the_next_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = LocalBlobs(tmp_path)
    put(blobs, NAME, b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(Crash):
            blobs.delete(NAME)
    assert files_below(tmp_path) == []
    assert (tmp_path / NAME).parent.is_dir()
    blobs.delete(NAME)
    assert list(tmp_path.iterdir()) == []


WRITE_AND_BE_KILLED = """
import os, signal, sys
from pathlib import Path
from mitschnitt.vault.blobs import LocalBlobs
writer = LocalBlobs(Path(sys.argv[1])).create(sys.argv[2])
writer.write(b"half")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path: Path) -> None:
    source = str(Path(mitschnitt.__file__).parent.parent)
    command = [sys.executable, "-c", WRITE_AND_BE_KILLED, str(tmp_path), NAME]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": source}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(files_below(tmp_path)) == 1
    blobs = LocalBlobs(tmp_path)
    assert (list(blobs.names()), blobs.sweep()) == ([], 1)
    assert list(tmp_path.iterdir()) == []


def test_commit_syncs_the_file_before_the_name_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LocalBlobs(tmp_path).create(NAME)
    steps: list[str] = []
    for step in ("fdatasync", "link", "unlink", "fsync"):
        real = getattr(os, step)

        def noted(*args: object, real: Callable[..., object] = real, step: str = step, **named: object) -> object:
            steps.append(step)
            return real(*args, **named)

        monkeypatch.setattr(os, step, noted)
    writer.commit()
    assert steps == ["fdatasync", "link", "unlink", "fsync"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("step", ["write", "fdatasync", "link"])
def test_a_disk_that_takes_no_more_is_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    blobs = LocalBlobs(tmp_path)
    writer = blobs.create(NAME)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    def write_and_commit() -> None:
        writer.write(b"x")
        writer.commit()

    with monkeypatch.context() as patch:
        patch.setattr(os, step, refuse)
        with pytest.raises(NoSpace, match=NAME):
            write_and_commit()
    writer.abort()
    assert files_below(tmp_path) == []


def test_other_errors_of_the_system_are_not_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    writer = LocalBlobs(tmp_path).create(NAME)
    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(VaultError, match="Permission denied") as caught:
        writer.write(b"x")
    assert not isinstance(caught.value, NoSpace)


def test_an_input_output_error_while_reading_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    blobs = LocalBlobs(tmp_path)
    put(blobs, NAME, b"x")
    monkeypatch.setattr(os, "pread", refuse)
    with pytest.raises(Damaged, match="Input/output error"):
        blobs.read(NAME, 0, 1)


def test_short_writes_and_short_reads_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write, real_pread = os.write, os.pread
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, bytes(data[:3])))
    monkeypatch.setattr(os, "pread", lambda descriptor, length, at: real_pread(descriptor, min(length, 4), at))
    blobs = LocalBlobs(tmp_path)
    put(blobs, NAME, b"0123456789")
    assert blobs.read(NAME, 1, 10) == b"123456789"


def test_a_writer_finds_its_directory_taken_away_and_makes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open
    raced: list[object] = []

    def race(path: object, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_EXCL and not raced:
            raced.append(path)
            (tmp_path / "ab").rmdir()
        return real_open(path, flags, mode)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", race)
    put(LocalBlobs(tmp_path), "ab/0.media", b"x")
    assert (len(raced), files_below(tmp_path)) == (1, ["ab/0.media"])


def test_a_file_size_limit_is_no_space(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    put(blobs, "before", b"x" * 4096)
    writer = blobs.create(NAME)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(NoSpace, match="File too large"):
            writer.write(b"y" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    writer.abort()
    assert files_below(tmp_path) == ["before"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB; who may not mount one gets a limit on the size of files."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0 and libc.mount(b"none", bytes(tmp_path), b"tmpfs", 0, b"size=64k") == 0:
        yield tmp_path
        libc.umount2(bytes(tmp_path), 2)  # MNT_DETACH
        return
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, limits[1]))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_really_full_disk_is_no_space_and_keeps_what_it_had(small_disk: Path) -> None:
    blobs = LocalBlobs(small_disk)
    put(blobs, "before", b"x" * 4096)
    writer = blobs.create(NAME)
    with pytest.raises(NoSpace, match="No space left on device|File too large"):
        writer.write(b"y" * 100_000)
    writer.abort()
    assert blobs.read("before", 0, 9) == b"x" * 9
    put(blobs, NAME, b"fits")
    assert list(blobs.names()) == [NAME, "before"]
