"""The Outlook client and its emulator on the workbench."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from providers.outlook.client import OutlookCalendar, OutlookService
from sync.domain import Interval, RemoteId
from tests.contract.outlook_world import Desk, World, open_desk, served
from tests.contract.ports_bench import Bench, Can, Implementation, Trouble, hours
from tests.contract.ports_faults import HANG_SECONDS, IMPATIENT, arm


class OutlookBench:
    lacks: Mapping[Can, str] = {}

    def __init__(self, world: World, service: OutlookService) -> None:
        self._world = world
        self._desk: Desk = open_desk(world, service)
        self._mailbox = self._desk.ref.remote.lower()

    @property
    def calendar(self) -> OutlookCalendar:
        return self._desk.client

    def put(self, interval: Interval, title: str = "Dentist") -> RemoteId:
        return RemoteId(self._desk.types(title=title, start=interval.start, end=interval.end))

    def retitle(self, remote_id: RemoteId, title: str) -> None:
        self._desk.act("change", id=remote_id, event={"title": title})

    def remove(self, remote_id: RemoteId) -> None:
        self._desk.act("delete", id=remote_id)

    def plant_malformed(self) -> RemoteId:
        planted = self.put(hours(0, 1))
        self._desk.act("change", id=planted, raw={"start": None})
        return planted

    def titles(self) -> list[str]:
        entries = self._world.emulator.store.entries(self._mailbox)
        return [str(entry.data["subject"]) for entry in entries if not entry.deleted]

    def expire_cursors(self) -> None:
        self._desk.fault("expired_cursor")

    def in_trouble(self, trouble: Trouble, call: str) -> OutlookCalendar:
        if trouble == Trouble.REVOKED:
            self._world.fault("revoked_secret", times=None)
            return self._world.service().calendar(self._desk.ref)
        if trouble == Trouble.READ_ONLY:
            reading = replace(self._world.credentials(), client_id="watertight-reader")
            return OutlookService(reading).calendar(self._desk.ref)
        if trouble == Trouble.SILENCE:
            impatient = self._world.service(timeout=IMPATIENT).calendar(self._desk.ref)
            impatient.find_event(RemoteId("none"))  # with a token in hand
            arm(self._world.emulator, self._mailbox, trouble, call, seconds=HANG_SECONDS)
            return impatient
        arm(self._world.emulator, self._mailbox, trouble, call)
        return self.calendar

    def heal(self) -> None:
        self._world.emulator.faults.clear()


@contextmanager
def _opened() -> Iterator[Callable[[], Bench]]:
    with served() as world:
        service = world.service()
        yield lambda: OutlookBench(world, service)


OUTLOOK = Implementation("outlook", _opened)
