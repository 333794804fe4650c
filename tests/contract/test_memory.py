"""The calendar in memory: its own hands and faults. That it keeps the ports' contract: test_calendar_port*.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from providers.memory import MemoryCalendar, MemoryCalendars
from sync.domain import CalendarId, CalendarRef, EventDraft, Interval, RemoteEvent, Role, WriteKey
from sync.errors import NotFound, WriteOutcomeUnknown
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


def test_a_persons_copy_has_the_key_and_is_not_what_the_write_made(calendar: MemoryCalendar) -> None:
    copy = calendar.put(hour(1), "Copied", key=KEY)
    assert calendar.find_by_key(KEY) is None
    made = calendar.create(EventDraft(hour(0), "Demo"), key=KEY)
    assert (copy.key, calendar.find_by_key(KEY)) == (KEY, made)


@pytest.mark.parametrize(("after", "made"), [("before", 0), ("after", 1)])
def test_a_fault_strikes_once_before_or_after_the_work(calendar: MemoryCalendar, after: str, made: int) -> None:
    calendar.fail("create", WriteOutcomeUnknown("no answer"), after=after)
    with pytest.raises(WriteOutcomeUnknown):
        calendar.create(EventDraft(hour(0), "Demo"), key=KEY)
    assert len(calendar.events()) == made
    assert isinstance(calendar.create(EventDraft(hour(0), "Demo"), key=KEY), RemoteEvent)
    assert len(calendar.events()) == 1


def test_subscriptions_are_renewed_until_the_vendor_forgets_them(calendar: MemoryCalendar) -> None:
    subscription = calendar.subscribe(url="https://x.test", secret="s", expires=NINE)
    later = NINE + timedelta(days=1)
    assert calendar.renew(subscription, url="https://x.test", secret="s", expires=later).expires == later
    for _ in range(2):
        calendar.unsubscribe(subscription)
    with pytest.raises(NotFound):
        calendar.renew(subscription, url="https://x.test", secret="s", expires=later)
