"""One calendar on the rig, as its owner sees it in the vendor's own window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from providers.emulation import Emulator, HumanAction, HumanEvent
from sync.domain import CalendarRef, Interval, Job, RemoteEvent
from tests.faults.rig import Message, Rig
from tests.integration.world import TOMORROW

TASKS = {
    Job.NEW: "NewAppointmentSync.calendar",
    Job.CANCEL: "CancellationSync.calendar",
    Job.UPDATE: "UpdateSync.calendar",
}

DAY = Interval(TOMORROW, TOMORROW + timedelta(days=1))


@dataclass(frozen=True)
class Feed:
    rig: Rig
    ref: CalendarRef
    emulator: Emulator

    def type(self, interval: Interval, title: str = "Dentist") -> str:
        return self._act("create", interval, title=title)

    def drag(self, remote_id: str, to: Interval) -> str:
        return self._act("change", to, remote_id=remote_id)

    def delete(self, remote_id: str) -> str:
        return self._act("delete", None, remote_id=remote_id)

    def _act(
        self, action: str, interval: Interval | None, *, remote_id: str | None = None, title: str | None = None
    ) -> str:
        event = HumanEvent(start=interval.start, end=interval.end, title=title) if interval else HumanEvent()
        shown = self.emulator.act(HumanAction(action=action, calendar=self.ref.remote, id=remote_id, event=event))
        return str(shown.get("id", remote_id))

    def live(self) -> dict[str, str]:
        """Who created each event that is there."""
        entries = self.emulator.store.entries(self.ref.remote)
        return {entry.id: entry.created_by for entry in entries if not entry.deleted}

    def read(self) -> list[RemoteEvent]:
        return sorted(self.rig.runtime.calendars.reader(self.ref).read_window(DAY), key=lambda event: event.interval)

    def busy(self) -> list[Interval]:
        return [event.interval for event in self.read() if event.blocks]

    def only(self) -> str:
        """The one event that is there."""
        (remote_id,) = self.live()
        return remote_id

    def job(self, job: Job) -> Message:
        return TASKS[job], (self.ref.id,)
