"""The calendar in memory keeps the ports' contract, so that what holds over it holds over vendors that keep it too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from providers.memory import MemoryCalendar, MemoryCalendars
from sync.domain import CalendarId, CalendarRef, EventDraft, Interval, RemoteEvent, RemoteId, Removal, Role, WriteKey
from sync.errors import CursorExpired, NotFound, ProviderUnavailable, Rejected, StaleVersion, WriteOutcomeUnknown
from sync.ports import CalendarAdapter, Calendars

NINE = datetime(2027, 3, 8, 9, tzinfo=UTC)
WINDOW = Interval(NINE - timedelta(hours=9), NINE + timedelta(hours=15))
KEY = WriteKey("k1")


def hour(number: int) -> Interval:
    return Interval(NINE + timedelta(hours=number), NINE + timedelta(hours=number + 1))


@pytest.fixture
def calendar() -> MemoryCalendar:
    return MemoryCalendar("memory")


def test_it_has_the_shape_of_every_port(calendar: MemoryCalendar) -> None:
    adapter: CalendarAdapter = calendar
    memory = MemoryCalendars()
    calendars: Calendars = memory
    ref = CalendarRef(CalendarId(1), "dana", "memory", "r", Role.MASTER, "UTC")
    assert calendars.reader(ref) is memory.of("r")
    assert calendars.writer(ref) is memory.of("r")
    assert adapter is calendar


def test_without_cursor_shows_the_window_then_only_what_changed(calendar: MemoryCalendar) -> None:
    inside, outside = calendar.put(hour(0)), calendar.put(hour(100))
    full = calendar.read_changes(None, window=WINDOW)
    assert (full.changes, full.full) == ((inside,), True)
    assert calendar.read_changes(full.cursor, window=WINDOW).changes == ()
    calendar.remove(inside.remote_id)
    (change,) = calendar.read_changes(full.cursor, window=WINDOW).changes
    assert isinstance(change, Removal)
    assert calendar.read_changes(None, window=WINDOW).changes == ()
    assert calendar.find_event(outside.remote_id) == outside


def test_an_expired_cursor_says_so_and_a_fresh_one_works(calendar: MemoryCalendar) -> None:
    cursor = calendar.read_changes(None, window=WINDOW).cursor
    calendar.expire()
    with pytest.raises(CursorExpired):
        calendar.read_changes(cursor, window=WINDOW)
    calendar.put(hour(0))
    fresh = calendar.read_changes(None, window=WINDOW)
    assert calendar.read_changes(fresh.cursor, window=WINDOW).changes == ()


def test_a_window_shows_what_overlaps_it_and_not_what_touches(calendar: MemoryCalendar) -> None:
    calendar.put(hour(-1))
    here = calendar.put(hour(0))
    assert calendar.read_window(hour(0)) == [here]


def test_a_key_creates_once(calendar: MemoryCalendar) -> None:
    made = calendar.create(EventDraft(hour(0), "Demo"), key=KEY)
    assert calendar.create(EventDraft(hour(5), "Other"), key=KEY) == made
    assert calendar.find_by_key(KEY) == made
    assert calendar.find_by_key(WriteKey("k2")) is None


def test_a_persons_copy_has_the_key_and_is_not_what_the_write_made(calendar: MemoryCalendar) -> None:
    copy = calendar.put(hour(1), "Copied", key=KEY)
    assert calendar.find_by_key(KEY) is None
    made = calendar.create(EventDraft(hour(0), "Demo"), key=KEY)
    assert (copy.key, calendar.find_by_key(KEY)) == (KEY, made)


@pytest.mark.parametrize("by", ["person", "api"])
def test_a_key_whose_event_was_deleted_creates_nothing(calendar: MemoryCalendar, by: str) -> None:
    made = calendar.create(EventDraft(hour(0), "Demo"), key=KEY)
    if by == "person":
        calendar.remove(made.remote_id)
    else:
        calendar.delete(made.remote_id, version=made.version)
    with pytest.raises(Rejected):
        calendar.create(EventDraft(hour(0), "Demo"), key=KEY)
    assert calendar.find_event(made.remote_id) is None


def test_an_update_needs_the_newest_version(calendar: MemoryCalendar) -> None:
    made = calendar.create(EventDraft(hour(0), "Demo"), key=KEY)
    moved = calendar.update(made.remote_id, EventDraft(hour(1), "Moved", blocks=False), version=made.version)
    assert (moved.remote_id, moved.interval, moved.title, moved.blocks) == (made.remote_id, hour(1), "Moved", False)
    assert (moved.key, moved.version != made.version, moved.updated > made.updated) == (KEY, True, True)
    with pytest.raises(StaleVersion):
        calendar.update(made.remote_id, EventDraft(hour(2), "Late"), version=made.version)
    with pytest.raises(NotFound):
        calendar.update(RemoteId("none"), EventDraft(hour(2), "None"), version="1")


def test_a_deletion_needs_the_newest_version_and_may_be_repeated(calendar: MemoryCalendar) -> None:
    made = calendar.create(EventDraft(hour(0), "Demo"), key=KEY)
    with pytest.raises(StaleVersion):
        calendar.delete(made.remote_id, version="old")
    for _ in range(2):
        calendar.delete(made.remote_id, version=made.version)
    calendar.delete(RemoteId("none"), version="1")
    assert calendar.events() == []


@pytest.mark.parametrize(("after", "made"), [("before", 0), ("after", 1)])
def test_a_fault_strikes_once_before_or_after_the_work(calendar: MemoryCalendar, after: str, made: int) -> None:
    calendar.fail("create", WriteOutcomeUnknown("no answer"), after=after)
    with pytest.raises(WriteOutcomeUnknown):
        calendar.create(EventDraft(hour(0), "Demo"), key=KEY)
    assert len(calendar.events()) == made
    assert isinstance(calendar.create(EventDraft(hour(0), "Demo"), key=KEY), RemoteEvent)
    assert len(calendar.events()) == 1


def test_a_fault_of_a_read(calendar: MemoryCalendar) -> None:
    calendar.fail("read_window", ProviderUnavailable("503"))
    with pytest.raises(ProviderUnavailable):
        calendar.read_window(WINDOW)
    assert calendar.read_window(WINDOW) == []


def test_subscriptions_are_renewed_until_the_vendor_forgets_them(calendar: MemoryCalendar) -> None:
    subscription = calendar.subscribe(url="https://x.test", secret="s", expires=NINE)
    later = NINE + timedelta(days=1)
    assert calendar.renew(subscription, url="https://x.test", secret="s", expires=later).expires == later
    for _ in range(2):
        calendar.unsubscribe(subscription)
    with pytest.raises(NotFound):
        calendar.renew(subscription, url="https://x.test", secret="s", expires=later)
