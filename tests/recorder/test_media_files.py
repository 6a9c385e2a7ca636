"""The threads that write the files of an ended call: whom they stand back from; a dropped track leaves no file."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from media_rig import Rig
from mitschnitt.errors import KeyGone, NoSpace
from mitschnitt.recorder.media import FINISH_NICE
from mitschnitt.vault.blobs import BlobWriter, MemoryBlobs


@pytest.mark.parametrize("moment", ["before", "between", "closed", "after", "refused"])
def test_a_track_that_is_dropped_while_its_files_are_written_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class Slow(MemoryBlobs):
        def create(self, name: str) -> BlobWriter:
            # Once in the middle of reading slices, once when nothing is left to read.
            if name.endswith({"before": "media", "after": "timeline", "refused": "timeline"}.get(moment, "none")):
                rig.media.drop(track)
                if moment == "refused":
                    raise NoSpace("full")
            return super().create(name)

    rig = Rig(tmp_path, blobs=Slow())
    track = rig.track()
    _, sender = rig.open_line(track)
    for number in range(3):
        sender.stamped([number])
        rig.tick()
    real = rig.journal.read_into

    def read(memory: memoryview, segment: int, offset: int) -> bool:
        found = real(memory, segment, offset)
        if moment in ("between", "closed"):
            rig.media.drop(track)
        if moment == "closed":  # its segment was nobody's any more before the thread came to read it
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return found

    monkeypatch.setattr(rig.journal, "read_into", read)
    with pytest.raises(KeyGone, match="withdrawn while"):
        rig.finish(track)
    assert list(rig.blobs.names()) == []
    rig.close()


def test_files_are_written_by_threads_that_stand_back_from_whoever_receives(tmp_path: Path) -> None:
    class Noting(MemoryBlobs):
        def create(self, name: str) -> BlobWriter:
            noted.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().create(name)

    noted: list[int] = []
    rig = Rig(tmp_path, blobs=Noting())
    rig.finish(rig.track())
    assert set(noted) == {min(19, os.getpriority(os.PRIO_PROCESS, 0) + FINISH_NICE)}  # 19: Linux has none lower
    rig.close()
