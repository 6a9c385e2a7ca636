"""The command line in tests: built once in each process, not for each call of a verb.

Building it costs more than most verbs; it is the same each time, and calling a verb leaves nothing in it.
"""

from __future__ import annotations

from functools import cache

from typer import testing


def begin() -> None:
    """From now on, for every `CliRunner`."""
    name = "_get_command"
    setattr(testing, name, cache(getattr(testing, name)))
