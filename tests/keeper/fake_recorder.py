"""A recorder without sockets for media: real journals, real link, slices of marked payload."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mitschnitt.config import Config
from mitschnitt.core.call import decode_call_id
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.decisions import own_decision
from mitschnitt.keeper.policies import Policies
from mitschnitt.vault import slices
from mitschnitt.vault.artefact import PartyHeader, pack_slice
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.finish import SALT_BYTES, finish_party, opened
from mitschnitt.vault.journal_files import JournalWriter
from mitschnitt.vault.keytree import leaf_key
from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.vault.slice_index import scan
from mitschnitt.wire.frames import FrameDecoder, pack_frame
from mitschnitt.wire.rtp import RUN

PAYLOAD_BYTES = 160  # 20 ms of G.711
CODECS = {"8": ["PCMA", 8000]}
BINDING = {"label": "1", "session": 0, "association": "participantstreamassoc", "cname": None}


OPEN: list[FakeRecorder] = []  # a fixture of each twin closes them


def close_all() -> None:
    """Hang up all fake recorders."""
    while OPEN:
        OPEN.pop().close()


def now() -> str:
    return rfc3339(datetime.now(UTC))


class Books:
    """The two journals of one recorder, written as a recorder writes them."""

    def __init__(self, config: Config, recorder: int, officer_key: bytes, *, next_seq: int = 1) -> None:
        self.directory = config.journal(recorder)
        self.writer = JournalWriter(self.directory, next_seq=next_seq)
        self.media = SliceWriter(self.directory)
        self.blobs = LocalBlobs(config.audio)
        self.officer_key = officer_key
        self.policy = Policies.of(config).in_force(datetime.now(UTC)).policy.hash
        self.numbers: dict[tuple[str, int], int] = {}

    def tell(self, call: str, kind: str, data: dict[str, Any], *, at: str = "") -> None:
        self.writer.append(call, kind, data, at=at or now())
        self.writer.sync()

    def arrived(self, call: str, index: int, block: int, *, at: str = "") -> None:
        told = {"index": index, "block": block, "policy": self.policy, "sealed": "AAAA"}
        self.tell(call, "arrived", told, at=at)

    def track(self, call: str, party: int = 0, role: str = "caller", *more: Mapping[str, Any]) -> None:
        data = {"party": party, "track": party, "role": role, "codecs": CODECS, "started_at": now()}
        self.tell(call, "track", {**data, "binding": [BINDING, *more]})

    def shred(self, call: str) -> None:
        self.tell(call, "shred", {"party": None})

    def closed(
        self,
        call: str,
        *,
        kept: bool,
        ladders: Sequence[Any] = (),
        pages: Mapping[str, str] | None = None,
        also: Sequence[str] = (),
        names: Mapping[str, object] | None = None,
    ) -> None:
        outcome = "kept" if kept else "not_kept"
        sealed = own_decision(self.officer_key, call, outcome=outcome, rule="test.rule", policy="p")
        told: dict[str, Any] = {"kept": kept, "decision": base64.b64encode(sealed).decode(), "pages": dict(pages or {})}
        told |= {"ladders": list(ladders)} if ladders else {}
        told |= {"names": dict(names)} if names else {}
        self.tell(call, "closed", {**told, "also": list(also)} if also else told)

    def media_slice(self, call: str, node: bytes, party: int, payload: bytes) -> None:
        """One tick of one party, durable."""
        number = self.numbers.get((call, party), 0)
        self.numbers[call, party] = number + 1
        runs = np.zeros(1, RUN)
        count = len(payload) // PAYLOAD_BYTES
        runs["arrival_ns"], runs["rtp_time"], runs["step"] = time.time_ns(), number * len(payload), PAYLOAD_BYTES
        runs["seq"], runs["count"], runs["length"], runs["payload_type"] = (
            number * count,
            count,
            PAYLOAD_BYTES,
            8,
        )
        cipher = slices.journal_cipher(leaf_key(node, party), party)
        sealed = cipher.encrypt(slices.slice_nonce(0, number), pack_slice(runs, payload), None)
        index = np.zeros(1, slices.INDEX)
        start = slices.body_offset(1)
        index[0] = (np.void(decode_call_id(call)), party, 0, number, start, len(sealed))
        self.media.append([slices.pack_head(index, length=start + len(sealed)), sealed], [party])
        self.media.sync()
        self.media.wait()

    def sealed(self, call: str, node: bytes, party: int) -> None:
        """The normal end of a party: its files, then its entry."""
        made = self.finish(call, node, party)
        data = {
            "party": party,
            "media": {"name": made.media_name, "size": made.media_size, "sha256": made.media_sha256},
            "timeline": {
                "name": made.timeline_name,
                "size": made.timeline_size,
                "sha256": made.timeline_sha256,
            },
            "reason": made.reason,
            "started_at": made.started_at,
            "ended_at": made.ended_at,
        }
        self.tell(call, "sealed", data)

    def finish(self, call: str, node: bytes, party: int) -> Any:
        raw, leaf = decode_call_id(call), leaf_key(node, party)
        mine = [piece for piece in scan(self.directory, raw) if piece.party == party]
        return finish_party(
            opened(mine, leaf_key=leaf, party=party),
            leaf_key=leaf,
            call_id=raw,
            party=party,
            header=PartyHeader({8: ("PCMA", 8_000)}, now(), now(), "ended"),
            blobs=self.blobs,
            salts=(bytes(SALT_BYTES), b"\1" * SALT_BYTES),
        )


class FakeRecorder:
    """The recorder's end of the link, one message at a time."""

    def __init__(self, config: Config, recorder: int = 1, *, boot: str = "boot-1") -> None:
        self.config = config
        self.recorder = recorder
        self.boot = boot
        self.keys: deque[tuple[int, int, bytes]] = deque()  # index, block, node
        self.inbox: deque[dict[str, Any]] = deque()
        self._connect()
        OPEN.append(self)

    def _connect(self) -> None:
        self._decoder = FrameDecoder()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(self.config.run / "keeper.sock"))

    def send(self, **message: Any) -> None:
        self._socket.sendall(pack_frame(message))

    def receive(self, kind: str) -> dict[str, Any]:
        """The next message of this kind; others wait in the inbox."""
        while True:
            for message in self.inbox:
                if message["type"] == kind:
                    self.inbox.remove(message)
                    return message
            data = self._socket.recv(65_536)
            assert data, f"the keeper hung up before `{kind}` came"
            self.inbox.extend(self._decoder.feed(data))

    def hello(self, *live: str) -> int:
        self.send(type="hello", recorder=self.recorder, boot=self.boot, live=list(live))
        return int(self.receive("ready")["next_seq"])

    def again(self, *live: str) -> int:
        """Reconnect, after the keeper was killed."""
        self._socket.close()
        self.inbox.clear()
        self._connect()
        return self.hello(*live)

    def lease(self, count: int = 8) -> None:
        self.send(type="lease", count=count)
        told = self.receive("keys")
        for offset, node in enumerate(told["nodes"]):
            self.keys.append((told["first"] + offset, told["block"], base64.b64decode(node)))

    def join(self, kind: str, value: str) -> dict[str, Any]:
        self.send(type="arrived", token="t", refs=[{"kind": kind, "value": value}])
        return self.receive("joined")

    def hung_up(self) -> bool:
        """Whether the keeper closed the connection."""
        while data := self._socket.recv(65_536):
            self.inbox.extend(self._decoder.feed(data))
        return True

    def close(self) -> None:
        self._socket.close()


def stamped(text: str, packets: int = 50) -> bytes:
    """Payload of `packets` packets in which `text` stands in each."""
    return b"".join(json.dumps([text, n]).encode().ljust(PAYLOAD_BYTES, b"\xd5") for n in range(packets))


def files_with(root: Path, marker: bytes) -> list[Path]:
    """Files below a directory that contain a marker in clear."""
    return [path for path in root.rglob("*") if path.is_file() and marker in path.read_bytes()]
