"""What whoever speaks to the caller is told to ask: the question after the recording, and those after further purposes.

Says what the policy says and decides nothing: whether anybody is asked at all is the keeper's to know.
"""

from __future__ import annotations

from typing import Any

from mitschnitt.core.policy import Policy, Prompt
from mitschnitt.core.purposes import further_questions


def question(policy: Policy, language: str) -> dict[str, Any]:
    """The question after the recording, in this language or the policy's own."""
    return _told(policy.prompt_for(language), policy)


def further(policy: Policy, language: str) -> list[dict[str, Any]]:
    """A question for each further purpose; put only to somebody who has just said yes to the recording."""
    return [{"purpose": prompt.purpose} | _told(prompt, policy) for prompt in further_questions(policy, language)]


def _told(prompt: Prompt, policy: Policy) -> dict[str, Any]:
    return {
        "prompt": prompt.name,
        "language": prompt.language,
        "sha256": prompt.sha256,
        "length_ms": prompt.length_ms,
        "yes": policy.yes,
        "no": policy.no,
        "window_s": int(policy.window.total_seconds()),
    }
