"""Every error that mitschnitt raises on purpose; the family says whose fault it is.

    MitschnittError
      PeerError            the other side sent something we cannot take
        MalformedPacket    bytes that do not parse (RTP, SIP, SDP, metadata, frames)
        TooLarge           a length or count above a named limit
      NotAllowed           a rule refused; carries the rule's name
      ConfigError          the operator's files or switches; says what was found and expected
      VaultError           keys, sealed files, journals: what was kept cannot be read or written
        KeyGone            the key tree no longer derives this key
        Damaged            a file or frame fails its check
        NoSpace            the store refuses to take more (disk full, read-only, I/O error)

Messages say what was found and what was expected; they never carry numbers, names or digits of callers.
"""

from __future__ import annotations


class MitschnittError(Exception):
    """Root of the tree; catch it only at the edge of a process."""


class PeerError(MitschnittError):
    """The other side's fault; the connection or call may go on without this message."""


class MalformedPacket(PeerError):  # noqa: N818 - the name says what was found, as the peers' own errors do
    """Bytes from outside that do not parse."""


class TooLarge(PeerError):  # noqa: N818 - as above
    """A length or count above one of our named limits."""


class NotAllowed(MitschnittError):  # noqa: N818 - reads as the sentence it is
    """A rule refused.

    `rule` is the dotted name that `docs/rules.md` lists, for example `consent.agent.none`.
    """

    def __init__(self, rule: str, sentence: str = "") -> None:
        self.rule = rule
        super().__init__(f"{sentence} [{rule}]" if sentence else rule)


class ConfigError(MitschnittError):
    """The operator's fault: a file, switch or directory; the sentence says found and expected."""


class VaultError(MitschnittError):
    """What is kept cannot be read or written."""


class KeyGone(VaultError):  # noqa: N818 - reads as the sentence it is
    """The key tree no longer derives this key: it was punctured, or never leased."""


class Damaged(VaultError):  # noqa: N818 - reads as the sentence it is
    """A sealed file or journal frame fails its check (tag, commitment, length, CRC)."""


class NoSpace(VaultError):  # noqa: N818 - reads as the sentence it is
    """The store takes no more: disk full, read-only or I/O error."""
