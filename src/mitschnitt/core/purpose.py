"""What a recording may be used for. A purpose is agreed to by name; nothing is used without one (Art. 5(1)(b) GDPR)."""

from __future__ import annotations

from typing import NewType

Purpose = NewType("Purpose", str)

TRAINING = Purpose("training")
LIVE_LISTENING = Purpose("live_listening")  # heard while it is said; nothing is kept
DISPUTE = Purpose("dispute")  # what was said is itself in question
OBLIGATION = Purpose("obligation")  # a law demands the recording: WpHG section 83, FinVermV section 18a
TRANSCRIPT = Purpose("transcript")  # written down by a machine
ACCOUNTABILITY = Purpose("accountability")  # built in: proof of consent, access and erasure; never audio

BUILT_IN = (TRAINING, LIVE_LISTENING, DISPUTE, OBLIGATION, TRANSCRIPT, ACCOUNTABILITY)  # all others are a policy's own
