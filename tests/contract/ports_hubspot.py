"""The HubSpot client and its emulator on the workbench."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from providers.emulation import HumanEvent
from providers.hubspot.client import HubSpotCalendar, HubSpotCredentials, HubSpotService
from sync.domain import Interval, RemoteId
from sync.errors import CursorExpired
from tests.contract.ports_bench import NINE, Bench, Can, Implementation, Trouble
from tests.contract.ports_faults import HANG_SECONDS, IMPATIENT, arm
from tests.fixtures.hubspot.serving import MORNING, OWNER, TOKEN, Stage, calendar_ref, stage

assert MORNING == NINE

# A search is a POST as well, and no write.
_WRITES = {"create": "POST /crm/objects/2026-09/meetings$", "update": "PATCH", "delete": "DELETE"}


class HubSpotBench:
    lacks: Mapping[Can, str] = {
        Can.FREE: "a meeting that takes no time is a cancelled one, unless it carries our mark",
        Can.TELL_ONCE: "the search is late, so every read goes back a minute and tells again what is there",
        Can.EXPIRE: "the cursor is a moment of ours, from which one can always read on",
    }

    def __init__(self, server: Stage) -> None:
        self._hubspot = server.world()
        self._hubspot.emulator.limits.searches = 1000
        # Whenever the client looks at the clock, minutes have passed: what it keeps and waits for has tests of its own.
        self._minutes = itertools.count(step=120.0)
        self.calendar = self._connect()

    def put(self, interval: Interval, title: str = "Dentist") -> RemoteId:
        start, end = ((at - NINE).total_seconds() / 3600 for at in (interval.start, interval.end))
        return self._hubspot.human_creates(start, end, title=title)

    def retitle(self, remote_id: RemoteId, title: str) -> None:
        self._hubspot.human_changes(remote_id, HumanEvent(title=title))

    def remove(self, remote_id: RemoteId) -> None:
        self._hubspot.human_deletes(remote_id)

    def plant_malformed(self) -> RemoteId:
        return self._hubspot.human_creates(raw={"properties": {"hs_meeting_end_time": None}})

    def titles(self) -> list[str]:
        records = self._hubspot.emulator.account.records()
        return [str(record["properties"]["hs_meeting_title"]) for record in records if not record["archived"]]

    def expire_cursors(self) -> None:
        raise CursorExpired("hubspot: no cursor expires")

    def in_trouble(self, trouble: Trouble, call: str) -> HubSpotCalendar:
        if trouble == Trouble.REVOKED:
            self._hubspot.arm("unauthorized", calendar=None, times=None)
            return self.calendar
        if trouble == Trouble.READ_ONLY:
            return self._connect(f"{TOKEN}-reader")
        if trouble == Trouble.SILENCE:
            arm(self._hubspot.emulator, None, trouble, call, seconds=HANG_SECONDS, writes=_WRITES)
            return self._connect(timeout=IMPATIENT)
        arm(self._hubspot.emulator, None, trouble, call, writes=_WRITES)
        return self.calendar

    def heal(self) -> None:
        self._hubspot.emulator.faults.clear()

    def _connect(self, token: str = TOKEN, *, timeout: tuple[float, float] = (5.0, 5.0)) -> HubSpotCalendar:
        credentials = HubSpotCredentials(token, base_url=self._hubspot.url)
        return HubSpotService(credentials, timeout=timeout, clock=self._minutes.__next__).calendar(calendar_ref(OWNER))


@contextmanager
def _opened() -> Iterator[Callable[[], Bench]]:
    with stage() as server:
        yield lambda: HubSpotBench(server)


HUBSPOT = Implementation("hubspot", _opened)
