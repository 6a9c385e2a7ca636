"""A running site with whoever speaks to its callers, and every sipp that dials it."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from journeys.ivr import Ivr, Ringing
from journeys.running import Site, running_site
from journeys.sipp_run import HOST, NOTHING_GIVEN, WAIT_SECONDS, SippRun, start_sipp
from mitschnitt.commands.demo_site import DemoSite


class Centre:
    """A running site, and whoever speaks to its callers."""

    def __init__(self, site: Site, host: str = HOST) -> None:
        self.site, self.host = site, host
        self.ivr = Ivr(site)
        self._runs: list[SippRun] = []

    def dial(
        self,
        scenario: str,
        transport: str,
        directory: Path,
        *calls: Ringing,
        seconds: int = 20,
        given: Mapping[str, str] = NOTHING_GIVEN,
        text: str | None = None,
        options: Sequence[str] = (),
    ) -> SippRun:
        """sipp in the background, one call for each that rings; `given` fills the holes of the scenario (or `text`)."""
        fields = [(ringing.session, ringing.call) for ringing in calls]
        place = directory / f"{scenario.replace('/', '-')}-{transport}"
        run = start_sipp(
            scenario,
            transport,
            self.site.demo.sip_port,
            place,
            fields,
            seconds=seconds,
            given=given,
            text=text,
            host=self.host,
            options=options,
        )
        self._runs.append(run)
        return run

    def calls(self) -> set[str]:
        """Every call that is written down."""
        return {call["call"] for call in self.site.calls()}

    def wait_new(self, before: set[str], count: int) -> set[str]:
        """The calls besides those `before`, once there are so many."""
        deadline = time.monotonic() + WAIT_SECONDS
        while len(new := self.calls() - before) < count:
            assert time.monotonic() < deadline, f"expected {count} new calls, found {len(new)}"
            time.sleep(0.05)
        return new

    def stop(self) -> None:
        """No sipp runs on, whatever failed."""
        for run in self._runs:
            run.stop()


def unannounced() -> Ringing:
    """A session that the site has never heard of."""
    return Ringing("", uuid.uuid4().hex, None)


@contextlib.contextmanager
def running_centre(
    root: Path, *, max_calls: int | None = None, sip: Sequence[str] = (), users: str = "", host: str = HOST
) -> Iterator[Centre]:
    """A site of its own, with its callers; `users` are the lines of its SIP users."""

    def before(demo: DemoSite) -> None:
        path = demo.directory / "secrets" / "sip-users"
        path.touch(mode=0o600)
        path.write_text(users, encoding="utf-8")

    with running_site(root, max_calls=max_calls, sip=sip, before=before, host=host) as site:
        centre = Centre(site, host)
        try:
            yield centre
        finally:
            centre.stop()
