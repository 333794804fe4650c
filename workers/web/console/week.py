"""A week as a picture: seven days side by side, in each a lane for the slots and one for every calendar. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from models.weeks import WeekAppointment, WeekEvent, WeekRecord, WeekSlot

DAYS = 7
DAY_MINUTES = 24 * 60
SHORTEST_MINUTES = 15  # that are drawn: a shorter one could not be seen
SLOTS = 0  # the lane that is no calendar


@dataclass(frozen=True, slots=True)
class Lane:
    """A calendar (or ``SLOTS``) as one column of each day."""

    id: int
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to draw. ``kind`` is one of: held, booked, ours, busy, free, conflict, drift, coming."""

    lane: int
    starts_at: datetime
    ends_at: datetime
    kind: str
    label: str
    proposal_id: int | None
    says: str


@dataclass(frozen=True, slots=True)
class Box:
    """A mark on one day: minutes from the day's beginning, in the zone of the picture."""

    mark: Mark
    day: int
    lane: int
    top: int
    height: int


@dataclass(frozen=True, slots=True)
class Week:
    """Seven local days from ``first``."""

    first: date
    zone: tzinfo

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range(DAYS)]

    def begins(self, day: date) -> datetime:
        return datetime.combine(day, time(), tzinfo=self.zone).astimezone(UTC)

    @property
    def start(self) -> datetime:
        return self.begins(self.first)

    @property
    def end(self) -> datetime:
        return self.begins(self.first + timedelta(days=DAYS))

    def minute(self, instant: datetime) -> int:
        """By the clock on the wall: a day on which it is changed has hours that are drawn over each other, or left out."""
        local = instant.astimezone(self.zone)
        return local.hour * 60 + local.minute


def monday_of(day: date) -> date:
    return day - timedelta(days=day.weekday())


def list_marks(record: WeekRecord, lanes: Sequence[Lane]) -> list[Mark]:
    """What is to be drawn, what is wrong last so that it lies on top."""
    masters = {lane.id for lane in lanes if lane.role == "master"}
    marks = [*_slots(record), *_events(record, masters), *_missing(record, lanes)]
    return sorted(marks, key=lambda mark: (mark.kind in {"conflict", "drift"}, mark.starts_at, mark.lane))


def place(marks: Sequence[Mark], week: Week, lanes: Sequence[Lane]) -> list[Box]:
    """Each mark on each day that it touches."""
    order = {lane.id: number for number, lane in enumerate(lanes)}
    return [
        Box(mark, day, order[mark.lane], top, height)
        for mark in marks
        if mark.lane in order
        for day, top, height in _days(mark, week)
    ]


def _days(mark: Mark, week: Week) -> Iterator[tuple[int, int, int]]:
    for number, day in enumerate(week.days):
        first, last = week.begins(day), week.begins(day + timedelta(days=1))
        start, end = max(mark.starts_at, first), min(mark.ends_at, last)
        if start < end:
            top = week.minute(start)
            bottom = DAY_MINUTES if end == last else week.minute(end)
            yield number, min(top, DAY_MINUTES - SHORTEST_MINUTES), max(bottom - top, SHORTEST_MINUTES)


def _slots(record: WeekRecord) -> Iterator[Mark]:
    for slot in record.slots:
        by = f" from {slot.origin}" if slot.origin else ""
        about = f"for proposal {slot.proposal_id}{by}" if slot.proposal_id else "by the commit task"
        label = f"#{slot.proposal_id}" if slot.proposal_id else slot.state
        says = f"slot {slot.id} {slot.state} {about}"
        yield Mark(SLOTS, slot.starts_at, slot.ends_at, slot.state, label, slot.proposal_id, says)


def _events(record: WeekRecord, masters: set[int]) -> Iterator[Mark]:
    appointments = {one.id: one for one in record.appointments}
    for event in record.events:
        carried = appointments.get(event.appointment_id or 0)
        if carried is not None:
            yield _copy(event, carried, met=_met(event, record) if event.calendar_id in masters else None)
        else:
            yield _foreign(event, record)


def _met(event: WeekEvent, record: WeekRecord) -> WeekSlot | None:
    """The first slot that the event overlaps."""
    meets = (slot for slot in record.slots if slot.starts_at < event.ends_at and event.starts_at < slot.ends_at)
    return next(meets, None)


def _copy(event: WeekEvent, carried: WeekAppointment, *, met: WeekSlot | None) -> Mark:
    """An event that carries an appointment. What a person put on the master themselves has no slot, and may meet one."""
    label, where = f"#{carried.proposal_id}", (event.calendar_id, event.starts_at, event.ends_at)
    if met is not None and not carried.holds_slot:
        says = f"put there by hand, overlaps slot {met.id}, proposal {carried.proposal_id}"
        return Mark(*where, "conflict", label, carried.proposal_id, says)
    if (event.starts_at, event.ends_at) == (carried.starts_at, carried.ends_at):
        says = f"booked, proposal {carried.proposal_id} from {carried.origin}"
        return Mark(*where, "ours", label, carried.proposal_id, says)
    if event.calendar_id in carried.coming:
        return Mark(*where, "coming", label, carried.proposal_id, f"proposal {carried.proposal_id}, being moved")
    return Mark(
        *where, "drift", label, carried.proposal_id, f"proposal {carried.proposal_id} at another time than booked"
    )


def _foreign(event: WeekEvent, record: WeekRecord) -> Mark:
    """An event that carries no appointment: of a person, or of a system that was refused."""
    where = (event.calendar_id, event.starts_at, event.ends_at)
    about = f"proposal {event.proposal_id} {event.proposal_state}" if event.proposal_id else "of somebody else"
    label = f"#{event.proposal_id}" if event.proposal_id else "busy"
    if not event.blocks:
        return Mark(
            *where, "free", label if event.proposal_id else "free", event.proposal_id, f"shown as free, {about}"
        )
    met = _met(event, record)
    if met is not None:
        return Mark(*where, "conflict", label, event.proposal_id, f"overlaps slot {met.id}, {about}")
    return Mark(*where, "busy", label, event.proposal_id, f"busy, {about}")


def _missing(record: WeekRecord, lanes: Sequence[Lane]) -> Iterator[Mark]:
    """Appointments that a master or mirror has not, where nothing is under way to change that."""
    for one in record.appointments:
        for lane in lanes:
            if lane.role not in {"master", "mirror"} or lane.id in one.shown:
                continue
            coming = lane.id in one.coming
            says = f"proposal {one.proposal_id} is {'on its way' if coming else 'missing'} here"
            kind = "coming" if coming else "drift"
            yield Mark(lane.id, one.starts_at, one.ends_at, kind, f"#{one.proposal_id}", one.proposal_id, says)
