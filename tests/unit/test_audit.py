from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sync.audit import Booking, Drift, EventRef, Shown, compare
from sync.domain import AppointmentId, CalendarId, CalendarRef, Interval, RemoteEvent, RemoteId, Role

DAY = datetime(2027, 3, 8, tzinfo=UTC)
CHECKED = datetime(2027, 3, 1, 12, tzinfo=UTC)
LATER, EARLIER = CHECKED + timedelta(seconds=1), CHECKED - timedelta(seconds=1)
MASTER = CalendarRef(CalendarId(1), "dana", "memory", "master", Role.MASTER, "America/Chicago")
MIRROR = CalendarRef(CalendarId(2), "dana", "memory", "mirror", Role.MIRROR, "America/Chicago")
OTHER = CalendarRef(CalendarId(3), "ben", "memory", "ben", Role.MASTER, "Europe/Berlin")


def at(hour: float, minutes: float = 60) -> Interval:
    start = DAY + timedelta(hours=hour)
    return Interval(start, start + timedelta(minutes=minutes))


def event(name: str, interval: Interval, *, blocks: bool = True, updated: datetime = EARLIER) -> RemoteEvent:
    return RemoteEvent(RemoteId(name), f'"{name}"', updated, interval, blocks)


@dataclass
class World:
    """A ledger and two calendars that agree until a test spoils them."""

    bookings: list[Booking] = field(default_factory=list)
    events: dict[CalendarId, dict[str, RemoteEvent]] = field(default_factory=lambda: {MASTER.id: {}, MIRROR.id: {}})
    ours: set[str] = field(default_factory=set)
    judged: set[EventRef] = field(default_factory=set)

    @property
    def master(self) -> dict[str, RemoteEvent]:
        return self.events[MASTER.id]

    @property
    def mirror(self) -> dict[str, RemoteEvent]:
        return self.events[MIRROR.id]

    def book(self, interval: Interval, *, origin: str = "api", holds_slot: bool = True, by_person: bool = False) -> int:
        """An appointment with its events; those that its origin made are not ours."""
        number = len(self.bookings) + 1
        names = {MASTER.id: f"a{number}", MIRROR.id: f"b{number}"}
        for calendar, name in names.items():
            self.events[calendar][name] = event(name, interval)
        self.ours |= {
            names[calendar] for calendar, maker in ((MASTER.id, "master"), (MIRROR.id, "mirror")) if maker != origin
        }
        events = {calendar: RemoteId(name) for calendar, name in names.items()}
        self.bookings.append(Booking(AppointmentId(number), "dana", interval, holds_slot, by_person, CHECKED, events))
        return number

    def put_by_hand(self, interval: Interval) -> None:
        """A person's event on the master, noticed: an appointment without a slot."""
        self.book(interval, origin="master", holds_slot=False, by_person=True)

    def refuse(self, interval: Interval, name: str = "refused") -> None:
        """A person's event on the mirror, turned down and marked as free."""
        self.mirror[name] = event(name, interval, blocks=False)
        self.judged.add((MIRROR.id, RemoteId(name)))

    def compare(self) -> Drift:
        shown = [
            Shown(ref, tuple(self.events[ref.id].values()), frozenset(RemoteId(name) for name in self.ours))
            for ref in (MASTER, MIRROR)
        ]
        return compare(self.bookings, shown, judged=self.judged)


def counts(drift: Drift) -> dict[str, int]:
    """The findings by field, without the empty ones."""
    names = ("overlaps_on_master", "lost", "mirrors_out_of_step", "strays", "overlaps_made_by_people")
    return {name: len(found) for name in names if (found := getattr(drift, name))}


@pytest.fixture
def world() -> World:
    """Two bookings that touch, one from the mirror, a person's own hour, and a refused wish."""
    world = World()
    world.book(at(9))
    world.book(at(10))
    world.book(at(12), origin="mirror")
    world.put_by_hand(at(14))
    world.refuse(at(9.5))
    return world


def test_a_world_in_step_has_no_drift(world: World) -> None:
    assert counts(world.compare()) == {}
    assert world.compare().broken == ()


def test_an_appointment_missing_on_the_master_is_lost(world: World) -> None:
    del world.master["a1"]
    drift = world.compare()
    assert counts(drift) == {"lost": 1}
    assert (drift.lost[0].what, drift.lost[0].appointments) == ("missing", (1,))


def test_an_appointment_at_another_time_on_the_master_is_lost(world: World) -> None:
    world.master["a1"] = event("a1", at(7))
    assert [finding.what for finding in world.compare().lost] == ["elsewhere"]


def test_an_appointment_that_takes_no_time_on_the_master_is_lost(world: World) -> None:
    world.master["a1"] = event("a1", at(9), blocks=False)
    assert [finding.what for finding in world.compare().lost] == ["free"]


def test_an_appointment_without_any_event_on_the_master_is_lost(world: World) -> None:
    del world.master["a1"]
    world.bookings[0] = replace(world.bookings[0], events={MIRROR.id: RemoteId("b1")})
    assert counts(world.compare()) == {"lost": 1}


def test_an_event_that_nobody_noticed_on_the_master_is_lost(world: World) -> None:
    world.master["late"] = event("late", at(17))
    assert [finding.what for finding in world.compare().lost] == ["unnoticed"]


def test_an_event_that_nobody_noticed_on_a_mirror_is_lost(world: World) -> None:
    world.mirror["late"] = event("late", at(17))
    drift = world.compare()
    assert counts(drift) == {"lost": 1}
    assert (drift.lost[0].what, drift.lost[0].calendar) == ("unnoticed", MIRROR.id)


def test_a_free_event_that_nobody_proposed_is_in_step(world: World) -> None:
    world.mirror["lunch"] = event("lunch", at(9), blocks=False)
    world.master["hint"] = event("hint", at(9), blocks=False)
    assert counts(world.compare()) == {}


def test_a_refused_event_that_is_still_busy_is_out_of_step(world: World) -> None:
    world.mirror["refused"] = event("refused", at(9.5))
    assert [finding.what for finding in world.compare().mirrors_out_of_step] == ["still_busy"]


@pytest.mark.parametrize(
    ("shown", "what"),
    [
        (None, "missing"),
        (event("b1", at(7)), "elsewhere"),
        (event("b1", at(9, 30)), "elsewhere"),
        (event("b1", at(9), blocks=False), "free"),
    ],
)
def test_a_copy_that_differs_is_out_of_step(world: World, shown: RemoteEvent | None, what: str) -> None:
    del world.mirror["b1"]
    if shown is not None:
        world.mirror["b1"] = shown
    drift = world.compare()
    assert counts(drift) == {"mirrors_out_of_step": 1}
    assert drift.mirrors_out_of_step[0].what == what


@pytest.mark.parametrize(("hour", "what"), [(9, "doubled"), (19, "stray")])
def test_a_copy_too_many_is_out_of_step(world: World, hour: float, what: str) -> None:
    world.mirror["extra"] = event("extra", at(hour))
    world.ours.add("extra")
    drift = world.compare()
    assert counts(drift) == {"mirrors_out_of_step": 1}
    assert drift.mirrors_out_of_step[0].what == what


def test_an_event_of_ours_on_the_master_that_no_appointment_has_is_a_stray(world: World) -> None:
    world.master["extra"] = event("extra", at(19))
    world.ours.add("extra")
    assert counts(world.compare()) == {"strays": 1}


def test_a_booking_doubled_on_the_master_overlaps_itself(world: World) -> None:
    world.master["extra"] = event("extra", at(9))
    world.ours.add("extra")
    assert counts(world.compare()) == {"overlaps_on_master": 1, "strays": 1}


def test_two_slots_that_overlap_break_the_promise_whoever_moved_them(world: World) -> None:
    world.bookings[1] = replace(world.bookings[1], interval=at(9.5), by_person=True)
    world.master["a2"], world.mirror["b2"] = event("a2", at(9.5), updated=LATER), event("b2", at(9.5))
    assert counts(world.compare()) == {"overlaps_on_master": 1}


def test_a_person_may_put_an_event_on_a_booking(world: World) -> None:
    world.put_by_hand(at(9.25, 15))
    world.master["a5"] = event("a5", at(9.25, 15), updated=LATER)
    drift = world.compare()
    assert counts(drift) == {"overlaps_made_by_people": 1}
    assert drift.broken == ()


def test_a_booking_put_on_a_persons_earlier_event_breaks_the_promise(world: World) -> None:
    world.put_by_hand(at(9.25, 15))
    world.master["a5"] = event("a5", at(9.25, 15), updated=EARLIER)
    assert counts(world.compare()) == {"overlaps_on_master": 1}


def test_a_person_may_move_a_booking_onto_an_event_of_theirs(world: World) -> None:
    world.bookings[0] = replace(world.bookings[0], interval=at(14), by_person=True)
    world.master["a1"], world.mirror["b1"] = event("a1", at(14)), event("b1", at(14))
    assert counts(world.compare()) == {"overlaps_made_by_people": 1}


def test_a_booking_that_a_person_moved_onto_another_has_lost_its_slot_and_is_theirs(world: World) -> None:
    world.bookings[1] = replace(world.bookings[1], interval=at(9), by_person=True, holds_slot=False)
    world.master["a2"], world.mirror["b2"] = event("a2", at(9), updated=LATER), event("b2", at(9))
    assert counts(world.compare()) == {"overlaps_made_by_people": 1}


def test_people_overlapping_only_themselves_is_nobodys_business(world: World) -> None:
    world.put_by_hand(at(14.5))
    assert counts(world.compare()) == {}


def test_a_free_event_on_the_master_overlaps_nothing(world: World) -> None:
    world.master["hint"] = event("hint", at(9), blocks=False)
    assert counts(world.compare()) == {}


def test_an_unnoticed_event_put_on_a_booking_later_is_lost_and_made_by_people(world: World) -> None:
    world.master["late"] = event("late", at(9), updated=LATER)
    assert counts(world.compare()) == {"lost": 1, "overlaps_made_by_people": 1}


def test_another_agents_appointments_are_not_expected_here(world: World) -> None:
    booking = Booking(AppointmentId(99), "ben", at(9), True, False, CHECKED, {OTHER.id: RemoteId("x")})
    shown = [Shown(OTHER, (event("x", at(9)),), frozenset({RemoteId("x")}))]
    assert counts(compare([*world.bookings, booking], shown)) == {}


def test_a_finding_names_ids_and_times_only(world: World) -> None:
    del world.mirror["b1"]
    sentence = str(world.compare().broken[0])
    assert sentence == "missing on calendar 2 at 2027-03-08T09:00Z/2027-03-08T10:00Z: appointment 1"


# Whatever a world in step looks like, it has no drift; and one difference put into it is found once.


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any number of appointments of any origin in hours of their own, and refused wishes anywhere."""
    world = World()
    for hour in draw(st.lists(st.integers(0, 40), min_size=1, max_size=8, unique=True)):
        kind = draw(st.sampled_from(["api", "mirror", "master"]))
        interval = at(hour, draw(st.sampled_from([30, 60])))
        if kind == "master":
            world.put_by_hand(interval)
        else:
            world.book(interval, origin=kind)
    for number, hour in enumerate(draw(st.lists(st.integers(0, 40), max_size=3))):
        world.refuse(at(hour), f"refused{number}")
    return world


def _remove_from_master(world: World, booking: Booking) -> None:
    del world.master[booking.events[MASTER.id]]


def _shift_on_master(world: World, booking: Booking) -> None:
    name = booking.events[MASTER.id]
    world.master[name] = event(name, at(100))


def _remove_copy(world: World, booking: Booking) -> None:
    del world.mirror[booking.events[MIRROR.id]]


def _shift_copy(world: World, booking: Booking) -> None:
    name = booking.events[MIRROR.id]
    world.mirror[name] = event(name, at(100))


def _double_copy(world: World, booking: Booking) -> None:
    world.mirror["extra"] = event("extra", booking.interval)
    world.ours.add("extra")


def _leave_a_stray(world: World, booking: Booking) -> None:  # noqa: ARG001 - one shape for all
    world.master["extra"] = event("extra", at(100))
    world.ours.add("extra")


def _overlook_a_wish(world: World, booking: Booking) -> None:
    world.mirror["late"] = event("late", booking.interval)


def _forget_to_mark(world: World, booking: Booking) -> None:
    world.refuse(booking.interval, "unmarked")
    world.mirror["unmarked"] = event("unmarked", booking.interval)


def _put_a_person_on_it(world: World, booking: Booking) -> None:
    """Only a booking counts: people may overlap themselves."""
    world.put_by_hand(booking.interval)
    name = world.bookings[-1].events[MASTER.id]
    world.master[name] = event(name, booking.interval, updated=LATER)


@given(world=worlds())
def test_any_world_in_step_has_no_drift(world: World) -> None:
    assert counts(world.compare()) == {}


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (_remove_from_master, "lost"),
        (_shift_on_master, "lost"),
        (_overlook_a_wish, "lost"),
        (_remove_copy, "mirrors_out_of_step"),
        (_shift_copy, "mirrors_out_of_step"),
        (_double_copy, "mirrors_out_of_step"),
        (_forget_to_mark, "mirrors_out_of_step"),
        (_leave_a_stray, "strays"),
        (_put_a_person_on_it, "overlaps_made_by_people"),
    ],
)
@given(world=worlds(), data=st.data())
def test_any_single_difference_is_found_once(
    spoil: Callable[[World, Booking], None], where: str, world: World, data: st.DataObject
) -> None:
    choice = [one for one in world.bookings if one.holds_slot] if spoil is _put_a_person_on_it else world.bookings
    assume(choice)
    spoil(world, data.draw(st.sampled_from(choice)))
    assert counts(world.compare()) == {where: 1}
