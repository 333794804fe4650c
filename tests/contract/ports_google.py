"""The Google client and its emulator on the workbench."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from providers.emulation import HumanEvent
from providers.google.client import GoogleCalendar, GoogleService
from sync.domain import Interval, RemoteId
from tests.contract.ports_bench import NINE, Bench, Can, Implementation, Trouble
from tests.contract.ports_faults import HANG_SECONDS, IMPATIENT, arm
from tests.fixtures.google.serving import MORNING, PERSON, Stage, calendar_ref, stage

assert MORNING == NINE


class GoogleBench:
    lacks: Mapping[Can, str] = {}

    def __init__(self, server: Stage) -> None:
        self._google = server.world()

    @property
    def calendar(self) -> GoogleCalendar:
        return self._google.calendar

    def put(self, interval: Interval, title: str = "Dentist") -> RemoteId:
        start, end = ((at - NINE).total_seconds() / 3600 for at in (interval.start, interval.end))
        return self._google.human_creates(start, end, title=title)

    def retitle(self, remote_id: RemoteId, title: str) -> None:
        self._google.human_changes(remote_id, HumanEvent(title=title))

    def remove(self, remote_id: RemoteId) -> None:
        self._google.human_deletes(remote_id)

    def plant_malformed(self) -> RemoteId:
        return self._google.human_creates(raw={"start": None})

    def titles(self) -> list[str]:
        entries = self._google.emulator.store.entries(PERSON)
        return [str(entry.data["summary"]) for entry in entries if not entry.deleted]

    def expire_cursors(self) -> None:
        self._google.arm("expired_cursor")

    def in_trouble(self, trouble: Trouble, call: str) -> GoogleCalendar:
        if trouble == Trouble.REVOKED:
            self._google.arm("invalid_grant", times=None)
            return self.calendar
        if trouble == Trouble.READ_ONLY:
            reading = replace(self._google.credentials, read_only=True)
            return GoogleService(reading).calendar(calendar_ref())
        if trouble == Trouble.SILENCE:
            impatient = GoogleService(self._google.credentials, timeout=IMPATIENT).calendar(calendar_ref())
            impatient.find_event(RemoteId("none0"))  # with a token in hand
            arm(self._google.emulator, PERSON, trouble, call, seconds=HANG_SECONDS)
            return impatient
        arm(self._google.emulator, PERSON, trouble, call)
        return self.calendar

    def heal(self) -> None:
        self._google.emulator.faults.clear()


@contextmanager
def _opened() -> Iterator[Callable[[], Bench]]:
    with stage() as server:
        yield lambda: GoogleBench(server)


GOOGLE = Implementation("google", _opened)
