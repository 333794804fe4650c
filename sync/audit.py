"""Does every calendar show what the ledger says? Pure: the ledger and the calendars come in as values (P1, P2)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

from sync.domain import AppointmentId, CalendarId, CalendarRef, Interval, RemoteEvent, RemoteId, Role

EventRef = tuple[CalendarId, RemoteId]


@dataclass(frozen=True, slots=True)
class Booking:
    """A confirmed appointment as the ledger has it.

    ``by_person`` says that somebody put it at its time on the master by hand, instead of a decision of ours, for which
    the master was read for the last time at ``checked_at``. ``events`` are the events that carry it.
    """

    id: AppointmentId
    agent: str
    interval: Interval
    holds_slot: bool
    by_person: bool
    checked_at: datetime
    events: Mapping[CalendarId, RemoteId]


@dataclass(frozen=True, slots=True)
class Shown:
    """A calendar as its vendor shows it now. ``ours`` are the events that we made, by the vendor's own account."""

    calendar: CalendarRef
    events: tuple[RemoteEvent, ...]
    ours: AbstractSet[RemoteId] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. ``what`` is a stable word; ids and intervals only (P12)."""

    what: str
    calendar: CalendarId
    interval: Interval
    appointments: tuple[AppointmentId, ...] = ()
    events: tuple[RemoteId, ...] = ()

    def __str__(self) -> str:
        about = ", ".join([*(f"appointment {number}" for number in self.appointments), *self.events])
        return f"{self.what} on calendar {self.calendar} at {self.interval}: {about}"


@dataclass(frozen=True, slots=True)
class Drift:
    """Every difference between the ledger and the calendars. Overlaps that people made themselves break no promise."""

    overlaps_on_master: tuple[Finding, ...] = ()
    lost: tuple[Finding, ...] = ()
    mirrors_out_of_step: tuple[Finding, ...] = ()
    strays: tuple[Finding, ...] = ()
    overlaps_made_by_people: tuple[Finding, ...] = ()

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The differences that break a promise."""
        return (*self.overlaps_on_master, *self.lost, *self.mirrors_out_of_step, *self.strays)


def compare(bookings: Collection[Booking], calendars: Sequence[Shown], *, judged: Collection[EventRef] = ()) -> Drift:
    """The differences once nothing is open any more.

    ``judged`` are the people's events about which a proposal was decided. Both sides must be cut to one window.
    """
    masters = [shown for shown in calendars if shown.calendar.role is Role.MASTER]
    mirrors = [shown for shown in calendars if shown.calendar.role is Role.MIRROR]
    sources = [shown for shown in calendars if shown.calendar.role is Role.SOURCE]
    pairs = [(shown, pair) for shown in masters for pair in _overlaps(shown, bookings)]
    copies = {shown.calendar.id: list(_unknown_copies(shown, bookings)) for shown in calendars}
    return Drift(
        overlaps_on_master=tuple(_overlap(shown, pair) for shown, pair in pairs if not _made_by_people(pair)),
        overlaps_made_by_people=tuple(_overlap(shown, pair) for shown, pair in pairs if _made_by_people(pair)),
        lost=(
            *(finding for shown in masters for finding in _not_carried(shown, bookings)),
            *(finding for shown in masters for finding in _unnoticed(shown, bookings)),
            *(finding for shown in [*mirrors, *sources] for finding in _unnoticed(shown, bookings, judged=judged)),
        ),
        mirrors_out_of_step=(
            *(finding for shown in mirrors for finding in _not_carried(shown, bookings)),
            *(finding for shown in sources for finding in _not_carried(shown, _from(shown, bookings))),
            *(finding for shown in [*mirrors, *sources] for finding in _still_busy(shown, bookings, judged=judged)),
            *(finding for shown in mirrors for finding in copies[shown.calendar.id]),
        ),
        strays=tuple(finding for shown in masters for finding in copies[shown.calendar.id]),
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    """A busy event on a master, with the appointment that it carries and whether we made it."""

    event: RemoteEvent
    booking: Booking | None
    ours: bool

    @property
    def is_booking(self) -> bool:
        """Whether we put it there as taken time; what we made without an appointment counts, people's own does not."""
        return self.booking.holds_slot if self.booking else self.ours

    @property
    def put_there_by(self) -> str:
        return "person" if (self.booking.by_person if self.booking else not self.ours) else "us"


_Pair = tuple[_Placed, _Placed]


def _overlaps(shown: Shown, bookings: Collection[Booking]) -> Iterator[_Pair]:
    """Pairs of busy events that overlap, at least one of them a booking."""
    carried = _carried(shown, bookings)
    placed = [
        _Placed(event, carried.get(event.remote_id), event.remote_id in shown.ours)
        for event in sorted(shown.events, key=lambda event: event.interval)
        if event.blocks
    ]
    for one, other in combinations(placed, 2):
        if one.event.interval.overlaps(other.event.interval) and (one.is_booking or other.is_booking):
            yield one, other


def _made_by_people(pair: _Pair) -> bool:
    """Whether a person put one of the two onto the other, which we can neither prevent nor undo (design §5.3).

    Two slots of the ledger never overlap, whoever moved what; and a booking may not be put where a person's event was
    before the master was read for it: both are ours to answer for.
    """
    one, other = pair
    if one.is_booking and other.is_booking:
        return False
    booking, foreign = (one, other) if one.is_booking else (other, one)
    if booking.put_there_by == "person":
        return True
    return foreign.put_there_by == "person" and booking.booking is not None and _came_later(foreign, booking.booking)


def _came_later(foreign: _Placed, booking: Booking) -> bool:
    """The vendor says when the event was changed last; a person's event is changed by that person alone."""
    return foreign.event.updated >= booking.checked_at


def _overlap(shown: Shown, pair: _Pair) -> Finding:
    one, other = pair
    both = Interval(
        max(one.event.interval.start, other.event.interval.start), min(one.event.interval.end, other.event.interval.end)
    )
    carried = tuple(placed.booking.id for placed in pair if placed.booking)
    return Finding("overlap", shown.calendar.id, both, carried, (one.event.remote_id, other.event.remote_id))


def _carried(shown: Shown, bookings: Iterable[Booking]) -> dict[RemoteId, Booking]:
    """The appointments by the event of this calendar that carries them."""
    own = (booking for booking in bookings if booking.agent == shown.calendar.agent)
    return {booking.events[shown.calendar.id]: booking for booking in own if shown.calendar.id in booking.events}


def _not_carried(shown: Shown, bookings: Iterable[Booking]) -> Iterator[Finding]:
    """Appointments that the calendar does not show, or not as they are."""
    events = {event.remote_id: event for event in shown.events}
    for booking in bookings:
        if booking.agent != shown.calendar.agent:
            continue
        remote_id = booking.events.get(shown.calendar.id)
        event = events.get(remote_id) if remote_id is not None else None
        if event is None:
            yield Finding("missing", shown.calendar.id, booking.interval, (booking.id,))
        elif event.interval != booking.interval or not event.blocks:
            what = "elsewhere" if event.blocks else "free"
            yield Finding(what, shown.calendar.id, booking.interval, (booking.id,), (event.remote_id,))


def _from(shown: Shown, bookings: Iterable[Booking]) -> list[Booking]:
    """The bookings that this source has an event for: it shows those, and need not show any other."""
    return [booking for booking in bookings if shown.calendar.id in booking.events]


def _unknown_copies(shown: Shown, bookings: Iterable[Booking]) -> Iterator[Finding]:
    """Events that we made and no appointment has; one with the time of an appointment is its double.

    One that a person has set free on their main calendar, which cancelled the appointment, stays there as they left it.
    """
    bookings = [booking for booking in bookings if booking.agent == shown.calendar.agent]
    carried = _carried(shown, bookings)
    for event in shown.events:
        if event.blocks and event.remote_id in shown.ours and event.remote_id not in carried:
            doubled = tuple(booking.id for booking in bookings if booking.interval == event.interval)
            what = "doubled" if doubled else "stray"
            yield Finding(what, shown.calendar.id, event.interval, doubled, (event.remote_id,))


def _foreign(shown: Shown, bookings: Iterable[Booking]) -> Iterator[RemoteEvent]:
    """People's busy events that no appointment has."""
    carried = _carried(shown, bookings)
    for event in shown.events:
        if event.blocks and event.remote_id not in carried and event.remote_id not in shown.ours:
            yield event


def _unnoticed(shown: Shown, bookings: Iterable[Booking], *, judged: Collection[EventRef] = ()) -> Iterator[Finding]:
    """Wishes that nobody heard."""
    for event in _foreign(shown, bookings):
        if (shown.calendar.id, event.remote_id) not in judged:
            yield Finding("unnoticed", shown.calendar.id, event.interval, (), (event.remote_id,))


def _still_busy(shown: Shown, bookings: Iterable[Booking], *, judged: Collection[EventRef]) -> Iterator[Finding]:
    """Wishes that were turned down, or called off, and still show as taken time."""
    for event in _foreign(shown, bookings):
        if (shown.calendar.id, event.remote_id) in judged:
            yield Finding("still_busy", shown.calendar.id, event.interval, (), (event.remote_id,))
