"""Publishes, once a minute and beside the loop, the lists of every day of the draw that is over.

By a clock that is not trusted nothing is published. What fails is logged where it fails, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import DBAPIError

from mitschnitt.errors import MitschnittError
from mitschnitt.keeper.draw_lists import DrawLists

LOOK_SECONDS = 60.0  # a list may come a minute late: its day is over

log = logging.getLogger("mitschnitt.keeper")


class Publishing:
    """`local` is the time in the policy's zone, None while the clock is not trusted."""

    def __init__(self, lists: DrawLists, local: Callable[[], datetime | None]) -> None:
        self._lists = lists
        self._local = local
        self._complains = False

    async def run(self) -> None:
        """Look every minute, until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> list[str]:
        """The days whose lists were written just now."""
        local = self._local()
        if local is None:
            return []
        try:
            written = self._lists.look(local)
        except (MitschnittError, DBAPIError, OSError):
            # A reader that meets a locked database is no reason for a keeper to end.
            if not self._complains:
                log.exception("the lists of a day of the draw could not be written")
            self._complains = True
            return []
        self._complains = False
        for _ in written:
            log.info("the lists of a day of the draw are published")
        return written
