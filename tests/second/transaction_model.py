"""The four transactions told a second time, as RFC 3261, 17 and RFC 6026 tell them: in sentences, not in tables.

Shares no line and no name with `wire/sip/transaction.py`. Differences from the standards are those that decision
0006 lists, and are marked "0006" here. Times in seconds; `out` is what goes to the network, `told` what the user
of the transaction hears.
"""

from __future__ import annotations

T1, T2, T4 = 0.5, 4.0, 5.0
LONG = 64 * T1
PROXY_PATIENCE = 180.0  # timer C


class Told:
    """What every transaction has: a state by name, running timers by letter, and what came of it."""

    def __init__(self, *, reliable: bool) -> None:
        self.reliable = reliable
        self.state = ""
        self.timers: dict[str, float] = {}
        self.out: list[str] = []
        self.told: list[str] = []
        self.last = ""  # newest response sent

    def over(self) -> None:
        """Nothing runs any more."""
        self.state = "terminated"
        self.timers = {}

    def fire(self, letter: str, now: float) -> None:
        """A timer that runs falls due."""
        assert abs(self.timers.pop(letter) - now) < 1e-9, f"timer {letter} is not due"
        getattr(self, f"timer_{letter.lower()}")(now)

    def response(self, status: int, now: float) -> None:
        """The peer answers; servers ask nothing."""

    def again(self) -> None:
        """The peer sends its request once more; clients serve nothing."""

    def answer(self, status: int, now: float) -> None:
        """Our user answers; clients have nothing to answer."""

    def ack(self, now: float) -> None:
        """The peer acknowledges."""

    def broken(self) -> None:
        """The transport failed."""


class InviteClient(Told):
    """17.1.1 with RFC 6026, 7.2."""

    def __init__(self, now: float, *, reliable: bool) -> None:
        super().__init__(reliable=reliable)
        self.state = "calling"
        self.out.append("INVITE")
        self.pause = T1
        if not reliable:
            self.timers["A"] = now + T1
        self.timers["B"] = now + LONG

    def timer_a(self, now: float) -> None:
        """Sent again, each pause twice the last."""
        self.out.append("INVITE")
        self.pause *= 2
        self.timers["A"] = now + self.pause

    def timer_b(self, now: float) -> None:
        """Nobody answered."""
        self.told.append("timeout")
        self.over()

    def timer_c(self, now: float) -> None:
        """0006: provisional answers alone do not last for ever."""
        self.told.append("timeout")
        self.over()

    def timer_d(self, now: float) -> None:
        """No more copies of the failure are to be expected."""
        self.over()

    def timer_m(self, now: float) -> None:
        """No more copies of the success are to be expected."""
        self.over()

    def response(self, status: int, now: float) -> None:
        """Failures are acknowledged here; a success is acknowledged by our user."""
        waiting = self.state in ("calling", "proceeding")
        if status < 200 and waiting:
            self.state, self.timers = "proceeding", {"C": now + PROXY_PATIENCE}
            self.told.append(str(status))
        elif 200 <= status < 300 and waiting:
            self.state, self.timers = "accepted", {"M": now + LONG}
            self.told.append(str(status))
        elif 200 <= status < 300 and self.state == "accepted":
            self.told.append(str(status))
        elif status >= 300 and waiting:
            self.out.append("ACK")
            self.state, self.timers = "completed", {"D": now + (0.0 if self.reliable else LONG)}
            self.told.append(str(status))
        elif status >= 300 and self.state == "completed":
            self.out.append("ACK")

    def broken(self) -> None:
        """Matters while something of ours is on the way: the INVITE, or the ACK."""
        if self.state in ("calling", "completed"):
            self.told.append("broken")
            self.over()


class OtherClient(Told):
    """17.1.2."""

    def __init__(self, now: float, *, reliable: bool) -> None:
        super().__init__(reliable=reliable)
        self.state = "trying"
        self.out.append("UPDATE")
        self.pause = T1
        if not reliable:
            self.timers["E"] = now + T1
        self.timers["F"] = now + LONG

    def timer_e(self, now: float) -> None:
        """Sent again; after a provisional answer only every T2."""
        self.out.append("UPDATE")
        self.pause = T2 if self.state == "proceeding" else min(2 * self.pause, T2)
        self.timers["E"] = now + self.pause

    def timer_f(self, now: float) -> None:
        """Nobody gave a final answer."""
        self.told.append("timeout")
        self.over()

    def timer_k(self, now: float) -> None:
        """No more copies of the answer are to be expected."""
        self.over()

    def response(self, status: int, now: float) -> None:
        """The first final answer counts; its copies are dropped."""
        if self.state not in ("trying", "proceeding"):
            return
        self.told.append(str(status))
        if status < 200:
            self.state = "proceeding"
        else:
            self.state, self.timers = "completed", {"K": now + (0.0 if self.reliable else T4)}

    def broken(self) -> None:
        """The request cannot be delivered."""
        if self.state in ("trying", "proceeding"):
            self.told.append("broken")
            self.over()


class InviteServer(Told):
    """17.2.1 with RFC 6026, 7.1."""

    def __init__(self, now: float, *, reliable: bool) -> None:
        super().__init__(reliable=reliable)
        self.state = "proceeding"
        self.pause = T1

    def again(self) -> None:
        """The last answer once more; an acknowledged failure is settled. 0006: a success is sent again too."""
        if self.last and self.state in ("proceeding", "completed", "accepted"):
            self.out.append(self.last)

    def answer(self, status: int, now: float) -> None:
        """One final answer, no more."""
        if self.state != "proceeding":
            return
        self.last = str(status)
        self.out.append(self.last)
        if 200 <= status < 300:
            self.state, self.timers = "accepted", {"L": now + LONG}
        elif status >= 300:
            self.state, self.timers = "completed", {"H": now + LONG}
            if not self.reliable:
                self.timers["G"] = now + T1

    def timer_g(self, now: float) -> None:
        """A failure is sent again until its ACK."""
        self.out.append(self.last)
        self.pause = min(2 * self.pause, T2)
        self.timers["G"] = now + self.pause

    def timer_h(self, now: float) -> None:
        """The ACK never came."""
        self.told.append("timeout")
        self.over()

    def timer_i(self, now: float) -> None:
        """No more copies of the ACK are to be expected."""
        self.over()

    def timer_l(self, now: float) -> None:
        """No more copies of the INVITE are to be expected."""
        self.over()

    def ack(self, now: float) -> None:
        """Settles a failure; that of a success is our user's."""
        if self.state == "completed":
            self.state, self.timers = "confirmed", {"I": now + (0.0 if self.reliable else T4)}
        elif self.state == "accepted":
            self.told.append("ACK")

    def broken(self) -> None:
        """RFC 6026: the user hears it, and copies of the INVITE still find their transaction."""
        if self.state in ("proceeding", "accepted", "completed"):
            self.told.append("broken")


class OtherServer(Told):
    """17.2.2."""

    def __init__(self, now: float, *, reliable: bool) -> None:
        super().__init__(reliable=reliable)
        self.state = "trying"

    def again(self) -> None:
        """Copies get the last answer; before the first answer they are dropped."""
        if self.state in ("proceeding", "completed"):
            self.out.append(self.last)

    def answer(self, status: int, now: float) -> None:
        """One final answer, no more."""
        if self.state not in ("trying", "proceeding"):
            return
        self.last = str(status)
        self.out.append(self.last)
        if status < 200:
            self.state = "proceeding"
        else:
            self.state, self.timers = "completed", {"J": now + (0.0 if self.reliable else LONG)}

    def timer_j(self, now: float) -> None:
        """No more copies of the request are to be expected."""
        self.over()

    def broken(self) -> None:
        """An answer of ours cannot be delivered."""
        if self.state in ("proceeding", "completed"):
            self.told.append("broken")
            self.over()
