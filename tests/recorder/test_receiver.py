from __future__ import annotations

import math
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from loopback import send_all
from mitschnitt.recorder import receiver
from mitschnitt.recorder.receiver import SLOT_BYTES, SOCKET_BUDGET, WIDE_BYTES, Batch, Receiver
from mitschnitt.recorder.sources import key_of, source_of
from mitschnitt.wire.sdp import parse_sdp, refusal


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for sock in made:
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    yield made
    for sock in made:
        sock.close()


def send(to: socket.socket, datagrams: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        send_all(sender, datagrams, to.getsockname())


def drained(source: Receiver, sockets: list[socket.socket]) -> list[list[tuple[int, bytes, int]]]:
    """Per batch: stream, bytes in the slot, length of the datagram."""
    batches: list[list[tuple[int, bytes, int]]] = []

    def process(batch: Batch) -> None:
        assert batch.count == len(batch.rows) == len(batch.lengths) == len(batch.stream)
        batches.append(
            [
                (int(stream), row[: min(int(length), SLOT_BYTES)].tobytes(), int(length))
                for row, length, stream in zip(batch.rows, batch.lengths, batch.stream, strict=True)
            ]
        )

    counts = list(source.drain([(s.fileno(), number) for number, s in enumerate(sockets)], process))
    assert counts == [len(batch) for batch in batches]
    return batches


def test_datagrams_come_grouped_by_stream_in_order_of_arrival(sockets: list[socket.socket]) -> None:
    send(sockets[2], [b"c%d" % n for n in range(5)])
    send(sockets[0], [b"a%d" % n for n in range(3)])
    [batch] = drained(Receiver(), sockets)
    assert [(stream, data) for stream, data, _ in batch] == [(0, b"a%d" % n) for n in range(3)] + [
        (2, b"c%d" % n) for n in range(5)
    ]


def test_empty_sockets_give_no_batch(sockets: list[socket.socket]) -> None:
    assert drained(Receiver(), sockets) == []


def test_a_datagram_longer_than_a_slot_shows_its_real_length(sockets: list[socket.socket]) -> None:
    send(sockets[0], [b"x" * SLOT_BYTES, b"y" * (SLOT_BYTES + 1), b""])
    [batch] = drained(Receiver(), sockets)
    assert [length for _, _, length in batch] == [SLOT_BYTES, SLOT_BYTES + 1, 0]
    assert batch[1][1] == b"y" * SLOT_BYTES


def test_a_batch_with_a_long_datagram_has_rows_for_all_of_it(sockets: list[socket.socket]) -> None:
    source = Receiver()
    whole: list[bytes] = []
    longest = bytes(range(1, 253)) * 16
    sent = [[b"a" * 172] * 3, [b"b", longest[:1_472], longest, b""], [b"c" * (SLOT_BYTES + 1)]]
    for sock, datagrams in zip(sockets, sent, strict=True):
        send(sock, datagrams)

    def process(batch: Batch) -> None:
        whole.extend(row[:length].tobytes() for row, length in zip(batch.rows, batch.lengths, strict=True))

    list(source.drain([(s.fileno(), number) for number, s in enumerate(sockets)], process))
    assert len(longest) == WIDE_BYTES
    assert whole == [datagram for datagrams in sent for datagram in datagrams]
    assert not any(place.any() for place in source.places)


def test_what_is_longer_than_a_wide_row_shows_its_real_length_too(sockets: list[socket.socket]) -> None:
    send(sockets[0], [b"x" * (WIDE_BYTES + 1), b"y"])
    [batch] = drained(Receiver(), sockets)
    assert [length for _, _, length in batch] == [WIDE_BYTES + 1, 1]


def test_streams_with_long_datagrams_come_last_and_in_batches_of_their_own(sockets: list[socket.socket]) -> None:
    source, widths = Receiver(), []
    pairs = [(s.fileno(), number) for number, s in enumerate(sockets)]

    def process(batch: Batch) -> None:
        widths.append((sorted(set(batch.stream.tolist())), batch.rows.shape[1] > SLOT_BYTES))

    for lengths in ((1_000, 10, 10), (1_000, 10, 10), (10, 10, 10), (10, 10, 10)):
        for sock, length in zip(sockets, lengths, strict=True):
            send(sock, [b"x" * length])
        list(source.drain(pairs, process))
    expected = [([0, 1, 2], True), ([1, 2], False), ([0], True), ([1, 2], False), ([0], False), ([0, 1, 2], False)]
    assert widths == expected


def test_many_long_datagrams_come_in_as_many_wide_batches_as_it_takes(sockets: list[socket.socket]) -> None:
    source = Receiver()
    sizes: list[int] = []
    got: list[bytes] = []
    for number in range(2 * SOCKET_BUDGET):
        for place, sock in enumerate(sockets):
            send(sock, [bytes([place, number]) * 400])
            if place == 0:
                send(sock, [bytes([place, 128 + number]) * 400])

    def process(batch: Batch) -> None:
        sizes.append(batch.count)
        got.extend(bytes(row[:2]) for row in batch.rows)

    list(source.drain([(s.fileno(), number) for number, s in enumerate(sockets)], process))
    assert max(sizes) <= receiver.WIDE_ROWS
    for place in (1, 2):
        assert [first[1] for first in got if first[0] == place] == list(range(2 * SOCKET_BUDGET))
    assert len(got) == 8 * SOCKET_BUDGET
    assert not any(place.any() for place in source.places)


def test_the_tails_are_zero_also_when_processing_fails(sockets: list[socket.socket]) -> None:
    source = Receiver()
    send(sockets[0], [b"marker" * 300])

    def fail(batch: Batch) -> None:
        raise ArithmeticError(batch.count)

    with pytest.raises(ArithmeticError):
        list(source.drain([(sockets[0].fileno(), 0)], fail))
    assert not any(place.any() for place in source.places)


def test_long_datagrams_of_named_streams_tell_who_sent_them(sockets: list[socket.socket]) -> None:
    source = Receiver()
    told: list[int] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for length in (10, 1_400, 700):
            send_all(sender, [b"z" * length], sockets[0].getsockname())
        name = ("127.0.0.1", sender.getsockname()[1])

    def process(batch: Batch) -> None:
        assert batch.sources is not None
        told.extend(batch.sources[:, 0].tolist())

    list(source.drain([(sockets[0].fileno(), 0)], process, named={0}))
    assert told == [key_of(*name)[0]] * 3


def test_a_full_arena_begins_another_batch_and_loses_nothing(sockets: list[socket.socket]) -> None:
    for number, sock in enumerate(sockets):
        send(sock, [bytes([number, n]) for n in range(50)])
    batches = drained(Receiver(rows=100), sockets)
    assert len(batches) == 3
    got = [data for batch in batches for _, data, _ in batch]
    assert got == [bytes([number, n]) for number in range(3) for n in range(50)]


def test_a_flooded_socket_waits_until_the_others_had_their_turn(sockets: list[socket.socket]) -> None:
    send(sockets[0], [bytes([n]) for n in range(SOCKET_BUDGET + 10)])
    send(sockets[2], [b"quiet"])
    first, second = drained(Receiver(), sockets)
    assert [stream for stream, _, _ in first] == [0] * SOCKET_BUDGET + [2]
    assert [data for _, data, _ in second] == [bytes([SOCKET_BUDGET + n]) for n in range(10)]


def test_a_flood_ends_with_the_rounds_of_a_drain(sockets: list[socket.socket]) -> None:
    send(sockets[0], [b"x"] * (SOCKET_BUDGET * receiver.ROUNDS + 5))
    batches = drained(Receiver(), sockets)
    assert sum(len(batch) for batch in batches) == SOCKET_BUDGET * receiver.ROUNDS
    assert len(drained(Receiver(), sockets)[0]) == 5


def test_the_arena_is_zero_behind_every_batch(sockets: list[socket.socket]) -> None:
    source = Receiver()
    send(sockets[0], [b"marker" * 100] * 20)
    drained(source, sockets)
    assert not source.arena.any()


def test_the_arena_is_zero_also_when_processing_fails(sockets: list[socket.socket]) -> None:
    source = Receiver()
    send(sockets[0], [b"marker"])

    def fail(batch: Batch) -> None:
        raise ArithmeticError(batch.count)

    with pytest.raises(ArithmeticError):
        list(source.drain([(sockets[0].fileno(), 0)], fail))
    assert not source.arena.any()


def test_another_drain_may_run_between_two_batches(sockets: list[socket.socket]) -> None:
    source = Receiver(rows=SOCKET_BUDGET)
    for sock in sockets:
        send(sock, [b"1", b"2"])
    streams: list[list[int]] = []

    def process(batch: Batch) -> None:
        streams.append(batch.stream.tolist())

    outer = source.drain([(sockets[0].fileno(), 0), (sockets[1].fileno(), 1)], process)
    next(outer)
    list(source.drain([(sockets[2].fileno(), 2)], process))
    list(outer)
    assert streams == [[0, 0], [2, 2], [1, 1]]


def test_a_closed_descriptor_has_nothing_to_give(sockets: list[socket.socket]) -> None:
    source = Receiver()
    assert list(source.drain([(-1, 0)], lambda _: None)) == []


def test_slots_take_sixty_milliseconds_of_g711_and_twenty_of_wideband_linear() -> None:
    assert SLOT_BYTES >= 12 + 480
    assert SLOT_BYTES >= 12 + 640
    assert (SLOT_BYTES // 64) % 2 == 1
    assert (WIDE_BYTES // 64) % 2 == 1
    assert Receiver().arena.shape == (receiver.BATCH_ROWS, SLOT_BYTES)
    assert receiver._MMSGHDR.itemsize == 64
    assert np.dtype(np.uintp).itemsize == 8


def test_named_streams_come_first_and_tell_who_sent_each_row(sockets: list[socket.socket]) -> None:
    told: list[tuple[list[int], list[tuple[str, int]] | None]] = []

    def process(batch: Batch) -> None:
        rows = None if batch.sources is None else batch.sources.tolist()
        known = None if rows is None else [source_of((first, 0, 0)) for (first,) in rows]
        told.append((batch.stream.tolist(), known))

    source, pairs = Receiver(), [(s.fileno(), number) for number, s in enumerate(sockets)]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.2", 0))
        for _ in range(2):  # the second time places are used again
            told.clear()
            for sender in (one, two):
                for sock in sockets:
                    send_all(sender, [b"x"], sock.getsockname())
            list(source.drain(pairs, process, named={1}))
            assert told == [([1, 1], [one.getsockname(), two.getsockname()]), ([0, 0, 2, 2], None)]


def test_over_ipv6_the_whole_address_is_told() -> None:
    found: list[list[list[int]]] = []
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender,
    ):
        sock.bind(("::1", 0))
        sender.bind(("::1", 0))
        send_all(sender, [b"x"], sock.getsockname())
        take = Receiver(version=6).drain(
            [(sock.fileno(), 7)],
            lambda batch: found.append(batch.sources.tolist() if batch.sources is not None else []),
            named=(7,),
        )
        assert list(take) == [1]
        assert found == [[list(key_of(*sender.getsockname()[:2]))]]


def test_a_stream_that_is_named_only_now_waits_for_the_next_drain(sockets: list[socket.socket]) -> None:
    named: set[int] = set()
    seen: list[tuple[list[int], bool]] = []

    def process(batch: Batch) -> None:
        seen.append((batch.stream.tolist(), batch.sources is not None))
        named.add(1)

    source, pairs = Receiver(rows=1), [(s.fileno(), number) for number, s in enumerate(sockets)]
    for sock in sockets:
        send(sock, [b"x"])
    list(source.drain(pairs, process, named=named))
    assert seen == [([0], False), ([2], False)]
    list(source.drain(pairs, process, named=named))
    assert seen[2:] == [([1], True)]


PTIMES = (10, 20, 30, 40, 60, 80, 100, 120, 200)  # ms


@pytest.mark.parametrize(
    "name, octets",  # of 1 ms at the highest rate
    [("PCMA/8000", 8), ("PCMU/8000", 8), ("G722/8000", 8), ("G729/8000", 1), ("AMR/8000", 1.6), ("AMR-WB/16000", 3.1),
     ("L16/8000", 16), ("L16/16000", 32), ("L16/44100", 88.2), ("L16/48000", 96), ("L16/8000/2", 32),
     ("L16/16000/2", 64), ("L16/44100/2", 176.4), ("L16/48000/2", 192), ("opus/48000/2", 63.75)],
)  # fmt: skip
def test_what_the_answer_takes_fits_at_every_packet_time_up_to_an_ethernet_frame_and_at_20_ms(
    name: str, octets: float
) -> None:
    offer = parse_sdp(OFFER.replace(b"CODEC", name.encode()))
    assert refusal(offer, 0) is None
    lengths = {ptime: math.ceil(octets * ptime) + 12 for ptime in PTIMES}
    assert lengths[20] <= WIDE_BYTES
    assert all(length <= WIDE_BYTES for length in lengths.values() if length <= ETHERNET_BYTES)


OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 CODEC\r\na=label:1\r\na=sendonly\r\n"
)
ETHERNET_BYTES = 1_472  # of a datagram in a packet of 1,500 bytes
