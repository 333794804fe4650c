"""The Cal.com client and its emulator on the workbench."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from providers.calcom.client import CalcomCalendar, CalcomService
from sync.domain import Interval, RemoteId
from sync.errors import CursorExpired
from tests.contract.ports_bench import NINE, Bench, Can, Implementation, Trouble
from tests.contract.ports_faults import HANG_SECONDS, IMPATIENT, arm
from tests.fixtures.calcom.serving import KEY, MORNING, PERSON, Stage, calendar_ref, stage

assert MORNING == NINE

_WRITES = {"update": "/reschedule$", "delete": "/cancel$"}


class CalcomBench:
    lacks: Mapping[Can, str] = {
        Can.CREATE: "a booking is a guest's and of an event type, and drafts of the engine have neither",
        Can.STRETCH: "a booking keeps the length of its event type",
        Can.RETITLE: "the vendor makes the title itself",
        Can.FREE: "a booking takes time until it is cancelled",
        Can.KEEP_ID: "a new time is a new booking, and the old one is cancelled",
        Can.TELL_ONCE: "the list is answered by a replica, so every read goes back five minutes and tells again",
        Can.EXPIRE: "the cursor is a moment of ours, from which one can always read on",
    }

    def __init__(self, server: Stage) -> None:
        self._calcom = server.world()
        self._calcom.emulator.requests_per_minute = 100_000

    @property
    def calendar(self) -> CalcomCalendar:
        return self._calcom.calendar

    def put(self, interval: Interval, title: str = "Dentist") -> RemoteId:
        start, end = ((at - NINE).total_seconds() / 3600 for at in (interval.start, interval.end))
        return self._calcom.books(start, end, title=title)

    def retitle(self, remote_id: RemoteId, title: str) -> None:
        self._calcom.changes(remote_id, title=title)

    def remove(self, remote_id: RemoteId) -> None:
        self._calcom.cancels(remote_id)

    def plant_malformed(self) -> RemoteId:
        return self._calcom.books(raw={"start": None})

    def titles(self) -> list[str]:
        return [str(self._calcom.data(uid)["title"]) for uid in self._calcom.live()]

    def expire_cursors(self) -> None:
        raise CursorExpired("calcom: no cursor expires")

    def in_trouble(self, trouble: Trouble, call: str) -> CalcomCalendar:
        if trouble == Trouble.REVOKED:
            self._calcom.arm("unauthorized", times=None)
            return self.calendar
        if trouble == Trouble.READ_ONLY:
            return self._calcom.calendar_of(PERSON, key=f"{KEY}-reader")
        if trouble == Trouble.SILENCE:
            arm(self._calcom.emulator, PERSON, trouble, call, seconds=HANG_SECONDS, writes=_WRITES)
            return CalcomService(self._calcom.credentials(), timeout=IMPATIENT).calendar(calendar_ref())
        arm(self._calcom.emulator, PERSON, trouble, call, writes=_WRITES)
        return self.calendar

    def heal(self) -> None:
        self._calcom.emulator.faults.clear()


@contextmanager
def _opened() -> Iterator[Callable[[], Bench]]:
    with stage() as server:
        yield lambda: CalcomBench(server)


CALCOM = Implementation("calcom", _opened)
