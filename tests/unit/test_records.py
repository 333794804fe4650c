"""Rows and domain values say the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from models.agents import Agent, Calendar
from models.feeds import Sighting
from sync.conflicts import Buffers
from sync.domain import (
    Attendee,
    BusyPolicy,
    CalendarId,
    CalendarRef,
    Interval,
    RemoteEvent,
    RemoteId,
    Removal,
    Role,
    WriteKey,
)
from sync.records import buffers_of, calendar_ref, dump_attendees, load_attendees, seen_of, store_sighting

NOW = datetime(2027, 3, 8, 8, tzinfo=UTC)
TEN = Interval(NOW + timedelta(hours=2), NOW + timedelta(hours=3))
ANN = Attendee("Ann", "ann@example.test")
EVENT = RemoteEvent(RemoteId("e"), "2", NOW, TEN, blocks=True, title="Demo", attendees=(ANN,), key=WriteKey("k"))


class Pending:
    """Takes the place of a session that only has to remember what was added."""

    def __init__(self) -> None:
        self.added: list[object] = []

    def add(self, row: object) -> None:
        self.added.append(row)


def stored(*changes: RemoteEvent | Removal) -> Sighting:
    row: Sighting | None = None
    for change in changes:
        row = store_sighting(Pending(), CalendarId(1), change, row=row)  # type: ignore[arg-type]  # only add() is used
    assert row is not None
    return row


def test_attendees_come_back_as_they_were() -> None:
    assert load_attendees(dump_attendees((ANN,))) == (ANN,)


def test_an_event_is_seen_as_it_was_read() -> None:
    seen = seen_of(stored(EVENT))
    assert (seen.remote_id, seen.version, seen.updated, seen.interval) == ("e", "2", NOW, TEN)
    assert (seen.blocks, seen.deleted, seen.title, seen.attendees) == (True, False, "Demo", (ANN,))
    assert stored(EVENT).key == "k"


def test_a_tombstone_keeps_what_was_last_seen_alive() -> None:
    seen = seen_of(stored(EVENT, Removal(RemoteId("e"))))
    assert (seen.deleted, seen.blocks, seen.interval, seen.updated) == (True, False, TEN, NOW)
    assert seen.version == f"deleted {NOW.isoformat()}"


def test_a_tombstone_never_seen_alive_has_no_time() -> None:
    seen = seen_of(stored(Removal(RemoteId("e"))))
    assert (seen.deleted, seen.interval, seen.updated, seen.version) == (True, None, None, "deleted")


def test_two_deletions_of_one_event_are_two_versions() -> None:
    again = RemoteEvent(RemoteId("e"), "3", NOW + timedelta(hours=1), TEN, blocks=True)
    once, twice = (
        stored(EVENT, Removal(RemoteId("e"))),
        stored(EVENT, Removal(RemoteId("e")), again, Removal(RemoteId("e"))),
    )
    assert once.version != twice.version


def test_a_calendar_and_its_agent() -> None:
    agent = Agent(
        slug="dana",
        zone="America/Chicago",
        buffer_before_minutes=5,
        buffer_after_minutes=10,
        counts_as_busy={"focus_time": False},
    )
    calendar = Calendar(id=3, provider="memory", remote="r", role="mirror")
    assert calendar_ref(calendar, agent) == CalendarRef(
        CalendarId(3), "dana", "memory", "r", Role.MIRROR, "America/Chicago", BusyPolicy(focus_time=False)
    )
    assert buffers_of(agent) == Buffers(before=timedelta(minutes=5), after=timedelta(minutes=10))
