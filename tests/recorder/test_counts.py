from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from media_rig import Rig, stamp
from mitschnitt.recorder.counts import LOSS_ALARM_PACKETS
from mitschnitt.recorder.reception import Loss


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_leaks_are_told_once_and_not_of_lines_that_are_gone(rig: Rig) -> None:
    line, gone = rig.media.line(), rig.media.line()
    rig.media.watch.leaked(line.number, 2)
    rig.media.watch.leaked(line.number, 1)
    rig.media.watch.leaked(gone.number, 5)
    rig.media.release(gone)
    assert list(rig.media.watch.leaks()) == [(line, 3)]
    assert list(rig.media.watch.leaks()) == []
    assert rig.media.counts.leaked == 3


def test_a_lossy_line_is_told_once_while_it_is_open_and_anew_when_it_opens_again(rig: Rig) -> None:
    track = rig.track()
    line, sender = rig.open_line(track)
    for again in (False, True):
        if again:
            rig.media.keep(line, track)
        for seq in (0, LOSS_ALARM_PACKETS - 1):
            sender.packet(seq, stamp(seq))
        rig.tick()
        assert list(rig.media.watch.losses()) == [(line, Loss(LOSS_ALARM_PACKETS, 2))]
        assert list(rig.media.watch.losses()) == []


def test_what_a_released_socket_dropped_stays_counted(rig: Rig) -> None:
    line = rig.media.line()
    rig.media.watch.read_drops()
    assert rig.media.counts.kernel_drops == 0
    rig.media.release(line)
    assert rig.media.watch.read_drops() == 0
