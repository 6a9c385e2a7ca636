"""What a recording may be used for. A purpose is agreed to by name; nothing is used without one (Art. 5(1)(b) GDPR)."""

from __future__ import annotations

from typing import NewType

Purpose = NewType("Purpose", str)

TRAINING = Purpose("training")
ACCOUNTABILITY = Purpose("accountability")  # built in: proof of consent, access and erasure; never audio
