"""Writes tests/vectors/digest/answers.json: digests as RFC 7616 describes them, by another hash library.

Shares no code with mitschnitt. The answers that RFCs and drafts print are asserted here before anything is
written. Run: python tests/second/make_digest_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path

from Crypto.Hash import MD5, SHA256

VECTORS = Path(__file__).parent.parent / "vectors" / "digest"
HASHES = {"MD5": MD5, "SHA-256": SHA256}
WEB = {"username": "Mufasa", "method": "GET", "uri": "/dir/index.html", "nc": "00000001", "qop": "auth"}
NEW = {
    **WEB,
    "realm": "http-auth@example.org",
    "password": "Circle of Life",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
}
OLD = {
    **WEB,
    "realm": "testrealm@host.com",
    "password": "Circle Of Life",
    "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
    "cnonce": "0a4f113b",
}
BOB = {
    "username": "bob",
    "realm": "biloxi.com",
    "password": "zanzibar",
    "method": "INVITE",
    "uri": "sip:bob@biloxi.com",
    "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
}
OURS = {
    "username": "sbc-münchen",
    "realm": "mitschnitt",
    "password": 'Zwölf "Boxkämpfer"',
    "method": "BYE",
    "uri": "sip:[2001:db8::1]:5060;transport=tcp",
    "nonce": "a=b,c d",
    "nc": "000000ff",
    "cnonce": "x",
    "qop": "auth",
}
# source, fields, algorithm, the answer that the source prints ("" where it is ours)
CASES = [
    ("RFC 7616, 3.9.1, MD5", NEW, "MD5", "8ca523f5e9506fed4657c9700eebdbec"),
    (
        "RFC 7616, 3.9.1, SHA-256",
        NEW,
        "SHA-256",
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    ),
    ("RFC 2617, 3.5", OLD, "MD5", "6629fae49393a05397450978507c4ef1"),
    ("draft-smith-sipping-auth-examples, 3.1: SIP without qop", BOB, "MD5", "bf57e4e0d0bffc0fbaedce64d59add5e"),
    (
        "draft-smith-sipping-auth-examples, 3.3: SIP with qop",
        {**BOB, "nc": "00000001", "cnonce": "0a4f113b", "qop": "auth"},
        "MD5",
        "89eb0059246c02b2f6ee02c7961d5ea3",
    ),
    ("own: SIP with SHA-256", {**BOB, "nc": "00000001", "cnonce": "0a4f113b", "qop": "auth"}, "SHA-256", ""),
    ("own: SIP with SHA-256, without qop", BOB, "SHA-256", ""),
    ("own: umlauts, quotes, IPv6", OURS, "SHA-256", ""),
    ("own: umlauts, quotes, IPv6, MD5", OURS, "MD5", ""),
]


def digest(algorithm: str, text: str) -> str:
    return str(HASHES[algorithm].new(text.encode()).hexdigest())


def answer(of: dict[str, str], algorithm: str) -> tuple[str, str]:
    ha1 = digest(algorithm, ":".join([of["username"], of["realm"], of["password"]]))
    ha2 = digest(algorithm, of["method"] + ":" + of["uri"])
    between = [of["nc"], of["cnonce"], of["qop"]] if "qop" in of else []
    return ha1, digest(algorithm, ":".join([ha1, of["nonce"], *between, ha2]))


def main() -> None:
    rows = []
    for source, fields, algorithm, printed in CASES:
        ha1, response = answer(fields, algorithm)
        assert printed in ("", response), f"{source}: {response}"
        rows.append({"source": source, "algorithm": algorithm, **fields, "ha1": ha1, "response": response})
    VECTORS.mkdir(exist_ok=True)
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    (VECTORS / "answers.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
