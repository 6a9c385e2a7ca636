"""A SIP ladder as text: client on the left, recorder on the right, one line a message. Prints and asks nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MIN_WIDTH = 44  # characters between the two columns; longer messages widen all lines of their ladder
NO_LADDER = "no ladder: the recorder ended before the call did, or it is from before ladders were kept"


def draw(ladder: Mapping[str, Any]) -> list[str]:
    """The lines of one ladder as the keeper shows it: times after its first message, arrows, words."""
    rungs = ladder["rungs"]
    told = [_told(rung) for rung in rungs]
    width = max([MIN_WIDTH, *(len(text) + 8 for text in told)])
    began = ladder["began_at"] or "at a time that is not known"
    lines = [f"ladder       began {began}", f"{'':13}client{'recorder':>{width + 4}}"]
    for place, (rung, text) in enumerate(zip(rungs, told, strict=True)):
        if place == ladder["gap"] and ladder["left_out"]:
            lines.append(_left_out(ladder, width))
        seconds = f"{rung['after_ms'] / 1000:.3f} s"
        lines.append(f"{seconds:>13}  |{_arrow(text, rung['way'], width)}|")
    if len(rungs) <= ladder["gap"] and ladder["left_out"]:
        lines.append(_left_out(ladder, width))
    return lines


def _left_out(ladder: Mapping[str, Any], width: int) -> str:
    text = f"... {ladder['left_out']} messages left out ..."
    return f"{'':15}|{text:^{width}}|"


def _arrow(text: str, way: str, width: int) -> str:
    if way == "in":
        return f"---- {text} ".ljust(width - 1, "-") + ">"
    return f"<--- {text} ".ljust(width, "-")


def _told(rung: Mapping[str, Any]) -> str:
    """A message in words: what it is, over what, what it carried, how often it went."""
    number, _, method = rung["cseq"].partition(" ")
    named = f"{method} {number}" if rung["message"] == method else f"{rung['message']} to {method} {number}"
    more = [rung["transport"]]
    more += [f"sdp {rung['sdp']}"] if rung["sdp"] else []
    more += ["metadata"] if rung["metadata"] else []
    more += [f"cause {rung['cause']}"] if rung["cause"] else []
    more += [f"sent {rung['times']} times"] if rung["times"] > 1 else []
    return f"{named} ({', '.join(more)})"
