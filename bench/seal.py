"""How fast sealed files, key tree and sub-keys are: a table, in under ten seconds.

    python bench/seal.py [--megabytes N] [--seconds S] [--json]

Everything stays in memory: no disk, no keeper. The figures are those of this machine at this moment.
"""

from __future__ import annotations

import argparse
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

from mitschnitt.vault.derive import Kind, artefact_key
from mitschnitt.vault.keytree import KeyTree
from mitschnitt.vault.sealed import HEADER_BYTES, SALT_BYTES, Opener, Sealer, read_range, sealed_size

MEGABYTE = 1_000_000  # bytes
CALLS = 10_000_000  # indices that punctures and derivations are scattered over
HOLES = 1_000  # erased calls in the tree that "punctured" rows look at
UPDATE_BYTES = 8_000  # one second of one G.711 stream
PIECE_BYTES = 1 << 18  # what a file is sealed and played back in; far larger pieces cost fresh memory pages
CONTEXT = b"bench"

Row = tuple[str, float, str]  # what, figure, unit


def rate(step: Callable[[], object], seconds: float) -> float:
    """How often `step` runs per second, measured for about `seconds`."""
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        step()
        done += 1
    return done / spent


def sealing(megabytes: int, seconds: float) -> list[Row]:
    """Sealing and opening one file."""
    key, salt = secrets.token_bytes(32), secrets.token_bytes(SALT_BYTES)
    plain = secrets.token_bytes(megabytes * MEGABYTE)

    def seal(update_bytes: int) -> Iterator[bytes]:
        sealer = Sealer(key, salt=salt, context=CONTEXT)
        yield sealer.header
        for at in range(0, len(plain), update_bytes):
            yield sealer.update(plain[at : at + update_bytes])
        yield sealer.finish()

    def seal_away(update_bytes: int) -> int:
        return sum(len(part) for part in seal(update_bytes))

    file = b"".join(seal(PIECE_BYTES))
    view = memoryview(file)

    def read(start: int, stop: int) -> bytes:
        opener = Opener(key, header=file[:HEADER_BYTES], context=CONTEXT)
        return read_range(opener, lambda a, b: bytes(view[a:b]), size=len(file), start=start, stop=stop)

    if read(0, len(plain)) != plain or len(file) != sealed_size(len(plain)):
        raise SystemExit("the sealed file does not open to what was sealed")
    middle = len(plain) // 2

    def open_all() -> int:
        return sum(len(read(at, at + PIECE_BYTES)) for at in range(0, len(plain), PIECE_BYTES))

    sealed, updated, opened = (
        rate(step, seconds) * megabytes
        for step in (lambda: seal_away(PIECE_BYTES), lambda: seal_away(UPDATE_BYTES), open_all)
    )
    return [
        (f"seal {megabytes} MB", sealed, "MB/s"),
        (f"seal in {UPDATE_BYTES:,}-byte updates", updated, "MB/s"),
        (f"open {megabytes} MB", opened, "MB/s"),
        ("open 1 s of audio in the middle", rate(lambda: read(middle, middle + UPDATE_BYTES), seconds), "/s"),
    ]


def keys(seconds: float) -> list[Row]:
    """Deriving and puncturing at scattered calls."""
    fresh = KeyTree.fresh(secrets.token_bytes(32))
    holed, holes = fresh, {secrets.randbelow(CALLS) for _ in range(HOLES)}
    for index in holes:
        holed = holed.puncture_call(index)
    alive = [index for index in (secrets.randbelow(CALLS) for _ in range(10_000)) if index not in holes]
    growing = [fresh]

    def puncture() -> None:
        growing[0] = growing[0].puncture_call(secrets.randbelow(CALLS))

    state = bytes(holed)
    leaf = secrets.token_bytes(32)
    return [
        ("derive a call, fresh tree", rate(lambda: fresh.call_node(secrets.choice(alive)), seconds), "/s"),
        (
            f"derive a call, {HOLES:,} holes",
            rate(lambda: holed.call_node(secrets.choice(alive)), seconds),
            "/s",
        ),
        ("sub-key of a leaf", rate(lambda: artefact_key(leaf, Kind.MEDIA, 1), seconds), "/s"),
        ("puncture, from a fresh tree on", rate(puncture, seconds), "/s"),
        (
            "puncture 5,000,000 calls at once",
            rate(lambda: holed.puncture_calls(0, CALLS // 2), seconds),
            "/s",
        ),
        (f"write the state, {HOLES:,} holes", rate(lambda: bytes(holed), seconds), "/s"),
        (f"read the state, {HOLES:,} holes", rate(lambda: KeyTree.parse(state), seconds), "/s"),
        (f"size of the state, {HOLES:,} holes", len(state), "bytes"),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table (or JSON); 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=5, help="size of the file that is sealed (5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="time per row (0.5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(argv)
    rows = sealing(options.megabytes, options.seconds) + keys(options.seconds)
    if options.json:
        print(json.dumps([{"what": what, "figure": figure, "unit": unit} for what, figure, unit in rows]))
    else:
        for what, figure, unit in rows:
            print(f"{what:<34} {figure:>12,.0f} {unit}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
