"""On which line of a TOML text each key stands, which the standard's reader does not tell.

Reads no values: that is the reader's work, and it comes first. Whatever this scanner does not understand has no line.
"""

from __future__ import annotations

import re

MAX_DEPTH = 64  # parts of a path: the memory of all paths grows with the square of it
BLANK = re.compile(r"[ \t]*")
BETWEEN = re.compile(r"(?:[ \t\n]|\r\n|#[^\n]*)*")
BARE = re.compile(r"[A-Za-z0-9_-]+")
BASIC = re.compile(r'"((?:[^"\\\n]|\\[^\n])*)"')
LITERAL = re.compile(r"'([^'\n]*)'")
LONG_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"""("{0,2})', re.DOTALL)
LONG_LITERAL = re.compile(r"'''.*?'''('{0,2})", re.DOTALL)
PLAIN = re.compile(r"[^,\]}\n#\"'{\[=]+")  # numbers, dates, switches
ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([btnfr"\\]))')
ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
Path = tuple[str | int, ...]


class _NotUnderstoodError(Exception):
    """Here the scanner would have to guess."""


def lines_of(text: str) -> dict[Path, int]:
    """Line, from 1, of each key, table and element by its path; nothing at all where the text is not understood.

    The second `[[stratum]]`'s rate has the path `("stratum", 1, "rate")`.
    """
    scan = _Scan(text.replace("\r\n", "\n"))
    try:
        scan.document()
    except (_NotUnderstoodError, ValueError, OverflowError):
        return {}
    return scan.lines


class _Scan:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0  # the line of the character up to which newlines were counted
        self._tables: dict[Path, int] = {}  # how many [[tables]] a path has so far
        self._mentioned: set[Path] = set()  # paths whose line is only that of something below them

    def document(self) -> None:
        """The whole text: headers, and keys below them."""
        here: Path = ()
        self._skip(BETWEEN)
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                here = self._header("[[", "]]")
            elif self._text.startswith("[", self._at):
                here = self._header("[", "]")
            else:
                self._pair(here, 0)
            self._end_of_line()
            self._skip(BETWEEN)

    def _skip(self, what: re.Pattern[str]) -> None:
        match = what.match(self._text, self._at)
        assert match is not None  # both of them match nothing, too
        self._at = match.end()

    def _take(self, text: str) -> None:
        if not self._text.startswith(text, self._at):
            raise _NotUnderstoodError
        self._at += len(text)

    def _sees(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _end_of_line(self) -> None:
        self._skip(BLANK)
        if self._at < len(self._text) and self._text[self._at] not in "\n#":
            raise _NotUnderstoodError

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _note(self, path: Path, line: int, below: Path) -> None:
        """The line of a path, and of each part above it (down from `below`) that has none of its own yet."""
        if len(path) > MAX_DEPTH:
            raise _NotUnderstoodError
        for length in range(len(below) + 1, len(path)):
            above = path[:length]
            if above not in self.lines:
                self.lines[above] = line
                self._mentioned.add(above)
        if path not in self.lines or path in self._mentioned:
            self.lines[path] = line
            self._mentioned.discard(path)

    def _header(self, begin: str, end: str) -> Path:
        line = self._here()
        self._take(begin)
        *above, last = self._key()
        self._take(end)
        path: Path = ()
        for part in above:
            path = self._newest((*path, part))
        path = (*path, last)
        if begin == "[[":
            number = self._tables.get(path, 0)
            self._tables[path] = number + 1
            self._note(path, line, ())
            path = (*path, number)
        self._note(path, line, ())
        return path

    def _newest(self, path: Path) -> Path:
        """The path itself, or that of its newest [[table]]."""
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _key(self) -> list[str]:
        parts: list[str] = []
        while len(parts) < MAX_DEPTH:
            self._skip(BLANK)
            parts.append(self._key_part())
            self._skip(BLANK)
            if not self._sees("."):
                return parts
            self._take(".")
        raise _NotUnderstoodError

    def _key_part(self) -> str:
        for form in (BARE, BASIC, LITERAL):
            match = form.match(self._text, self._at)
            if match:
                self._at = match.end()
                return match[0] if form is BARE else _unescaped(match[1]) if form is BASIC else match[1]
        raise _NotUnderstoodError

    def _pair(self, here: Path, depth: int) -> None:
        line = self._here()
        path = (*here, *self._key())
        self._take("=")
        self._note(path, line, here)
        self._skip(BLANK)
        self._value(path, depth)

    def _value(self, path: Path, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _NotUnderstoodError
        if self._sees("["):
            self._array(path, depth + 1)
        elif self._sees("{"):
            self._inline(path, depth + 1)
        else:
            for form in (LONG_BASIC, LONG_LITERAL, BASIC, LITERAL, PLAIN):
                match = form.match(self._text, self._at)
                if match:
                    self._at = match.end()
                    return
            raise _NotUnderstoodError

    def _array(self, path: Path, depth: int) -> None:
        self._take("[")
        number = 0
        self._skip(BETWEEN)
        while not self._sees("]"):
            self._note((*path, number), self._here(), path)
            self._value((*path, number), depth)
            number += 1
            self._skip(BETWEEN)
            if not self._sees("]"):
                self._take(",")
                self._skip(BETWEEN)
        self._take("]")

    def _inline(self, path: Path, depth: int) -> None:
        self._take("{")
        self._skip(BLANK)
        while not self._sees("}"):
            self._pair(path, depth)
            self._skip(BLANK)
            if not self._sees("}"):
                self._take(",")
                self._skip(BLANK)
        self._take("}")


def _unescaped(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        return ESCAPED[match[3]] if match[3] else chr(int(match[1] or match[2], 16))

    if re.sub(ESCAPE, "", text).count("\\"):
        raise _NotUnderstoodError
    return ESCAPE.sub(plain, text)
