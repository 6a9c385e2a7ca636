"""Lists in memory for the tests of the verifier: from the second implementation, and by hand."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from mitschnitt.proof.draw_format import DrawList
from mitschnitt.proof.draw_report import Report
from second.draw_lists import canonical, council_of, honest_week, public_of

WEEK = honest_week(2, 80, 10)
PUBLIC, COUNCIL = public_of(WEEK[0]), council_of(WEEK[0])


def opened(data: bytes) -> DrawList:
    return DrawList(io.BytesIO(data), "list")


def header_of(data: bytes) -> dict[str, Any]:
    top: dict[str, Any] = json.loads(data[12 : 12 + int.from_bytes(data[8:12], "big")])
    return top


def records_of(data: bytes) -> bytes:
    return data[12 + int.from_bytes(data[8:12], "big") :]


def with_header(data: bytes, header: Mapping[str, Any] | bytes) -> bytes:
    text = header if isinstance(header, bytes) else canonical(header)
    return data[:8] + len(text).to_bytes(4, "big") + text + records_of(data)


def said(report: Report) -> str:
    return "\n".join(map(str, report.findings))
