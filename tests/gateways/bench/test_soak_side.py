from __future__ import annotations

import asyncio
import json
from array import array
from pathlib import Path

from loopback import rtp_ports
from mitschnitt.gateways.bench import soak_side
from mitschnitt.gateways.bench.soak_side import Options, Soak, argument_of
from mitschnitt.recorder.media import Media
from mitschnitt.recorder.ports import PortPool
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.slice_files import SliceWriter


def test_a_stream_goes_on_in_a_new_call_on_a_fresh_port_and_the_old_one_leaves_nothing(tmp_path: Path) -> None:
    for name in ("journal", "audio"):
        (tmp_path / name).mkdir()
    options = Options({"directory": str(tmp_path)}, call_seconds=1.0, every_seconds=1.0)

    async def scene() -> tuple[list[int], dict[str, object]]:
        journal, blobs = SliceWriter(tmp_path / "journal"), LocalBlobs(tmp_path / "audio")
        media = Media(address="127.0.0.1", ports=PortPool(*rtp_ports()), journal=journal, blobs=blobs)
        ports = memoryview(array("H", [0]))
        soak = Soak(media, blobs, options, ports)
        soak.begin(0)
        seen = [ports[0]]
        soak.end(0)
        seen.append(ports[0])
        soak.begin(0)
        seen.append(ports[0])
        await asyncio.gather(*soak.ending)
        figures = soak.figures()
        media.close()
        journal.close()
        return seen, figures

    (first, between, then), figures = asyncio.run(scene())
    assert between == 0
    assert then not in (0, first)
    assert (figures["ended"], figures["lost"], figures["failed"]) == (1, 0, 0)
    assert list((tmp_path / "audio").iterdir()) == []


def test_options_travel_as_one_argument() -> None:
    options = Options({"streams": 3}, call_seconds=2.0, every_seconds=5.0)
    assert soak_side.Options(**json.loads(argument_of(options))) == options
