"""What an answer to OPTIONS announces, in findings: what the client takes from us, and what follows for recordings.

Reads one response; asks nobody.
"""

from __future__ import annotations

import re

from mitschnitt.wire.findings import Finding
from mitschnitt.wire.sip.message import Response
from mitschnitt.wire.siprec_xml import METADATA_TYPES

MAX_PRODUCT = 80  # characters of what it says of itself
_NO_WORD = re.compile(r"[^A-Za-z0-9 ,.;:()<>/+_'-]")
METHODS_BY_CODE = (("INVITE", "allow.invite"), ("BYE", "allow.bye"), ("UPDATE", "allow.update"))


def read_options(response: Response, *, ms: int) -> list[Finding]:
    """What follows from an answer that took `ms` milliseconds, best news first within each header."""
    status = response.status
    answered = "options.answered" if status < 300 else "options.refused"
    findings = [Finding(answered, {"status": status, "ms": ms})]
    product = response.headers.get("Server") or response.headers.get("User-Agent") or ""
    if product:
        findings.append(Finding("options.product", {"product": _NO_WORD.sub(".", product)[:MAX_PRODUCT]}))
    if status >= 300:
        return findings
    return [*findings, *_allow(response), *_supported(response), *_accept(response)]


def _allow(response: Response) -> list[Finding]:
    allowed = response.headers.tokens("Allow")
    if not allowed:
        return [Finding("allow.missing")]
    found = [Finding(code if method.lower() in allowed else f"{code}.missing") for method, code in METHODS_BY_CODE]
    found += [Finding("allow.options.missing")] if "options" not in allowed else []
    return found + ([Finding("allow.info.missing")] if "info" not in allowed else [])


def _supported(response: Response) -> list[Finding]:
    supported = response.headers.tokens("Supported") | response.headers.tokens("Require")
    found = [
        Finding(f"supported.{tag}" if tag in supported else f"supported.{tag}.missing") for tag in ("siprec", "timer")
    ]
    return found + ([Finding("supported.replaces")] if "replaces" in supported else [])


def _accept(response: Response) -> list[Finding]:
    if response.headers.get("Accept") is None:
        return []  # then it takes application/sdp (RFC 3261, 20.1)
    accepted = {value.partition(";")[0].strip() for value in response.headers.tokens("Accept")}
    found = [] if accepted & {"application/sdp", "*/*", "application/*"} else [Finding("accept.sdp.missing")]
    return found + ([Finding("accept.metadata")] if accepted & set(METADATA_TYPES) else [])
