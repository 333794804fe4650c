"""Which sightings win and what each job proposes, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sync.changes import (
    Agreed,
    Brake,
    Known,
    Seen,
    is_newer,
    last_of_each,
    live_in,
    plan_proposals,
)
from sync.domain import (
    REFUSED_PREFIX,
    CalendarId,
    Change,
    Interval,
    Job,
    Kind,
    RemoteEvent,
    RemoteId,
    Removal,
    Unparsed,
)

NOW = datetime(2027, 3, 8, 8, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
TEN = Interval(NOW + timedelta(hours=2), NOW + timedelta(hours=3))
ELEVEN = Interval(TEN.end, TEN.end + timedelta(hours=1))
PAST = Interval(NOW - timedelta(hours=2), NOW)
ID = RemoteId("e")
SEEN = Seen(ID, "2", NOW, TEN, blocks=True, deleted=False, title="Demo")
GONE = replace(SEEN, deleted=True, blocks=False)
FREE = replace(SEEN, blocks=False)
MARKED = replace(FREE, title=f"{REFUSED_PREFIX}Demo")
LINKED = Agreed(linked=True, open=False, interval=TEN, updated=EARLIER, title="Demo")
OPEN = Agreed(linked=False, open=True, interval=TEN, title="Demo")
REFUSED = replace(OPEN, open=False, version="2")
REFUSED_BEFORE = replace(REFUSED, version="1")
OVERTAKEN = replace(REFUSED, interval=None)
EVENT = RemoteEvent(ID, "2", NOW, TEN, blocks=True)


def plan(job: Job, seen: Seen, agreed: Agreed | None, *, ours: bool = False, stray: bool = False) -> Kind | None:
    known = Known({ID: agreed} if agreed else {}, {ID} if ours else set(), {ID} if stray else set())
    wishes = plan_proposals(job, [seen], known, calendar_id=CalendarId(1), now=NOW)
    return wishes[0].kind if wishes else None


@pytest.mark.parametrize(
    ("seen", "agreed", "kind"),
    [
        (SEEN, None, Kind.BOOK),
        (FREE, None, None),
        (GONE, None, None),
        (replace(SEEN, interval=PAST), None, None),
        (replace(SEEN, interval=None), None, None),
        (SEEN, LINKED, None),
        (SEEN, OPEN, None),
        (SEEN, REFUSED, None),
    ],
)
def test_new(seen: Seen, agreed: Agreed | None, kind: Kind | None) -> None:
    assert plan(Job.NEW, seen, agreed) is kind


def test_ours_are_not_proposed_and_strays_must_go() -> None:
    assert plan(Job.NEW, SEEN, None, ours=True) is None
    assert plan(Job.NEW, SEEN, None, ours=True, stray=True) is Kind.CANCEL
    assert plan(Job.NEW, GONE, None, ours=True, stray=True) is None


@pytest.mark.parametrize(
    ("seen", "agreed", "kind"),
    [
        (GONE, LINKED, Kind.CANCEL),
        (GONE, OPEN, Kind.CANCEL),
        (GONE, REFUSED, None),
        (GONE, None, None),
        (FREE, LINKED, Kind.CANCEL),
        (FREE, replace(LINKED, updated=NOW), None),
        (FREE, OPEN, Kind.CANCEL),
        (FREE, REFUSED, None),
        (MARKED, LINKED, None),
        (SEEN, LINKED, None),
    ],
)
def test_cancelled(seen: Seen, agreed: Agreed | None, kind: Kind | None) -> None:
    assert plan(Job.CANCEL, seen, agreed) is kind


MOVED, RENAMED = replace(SEEN, interval=ELEVEN), replace(SEEN, title="Other")


@pytest.mark.parametrize(
    ("seen", "agreed", "kind"),
    [
        (SEEN, LINKED, None),
        (MOVED, LINKED, Kind.MOVE),
        (RENAMED, LINKED, Kind.MOVE),
        (MOVED, replace(LINKED, updated=NOW), None),
        (replace(MOVED, interval=PAST), LINKED, Kind.MOVE),
        (MOVED, OPEN, Kind.MOVE),
        (RENAMED, OPEN, Kind.MOVE),
        (MOVED, REFUSED, Kind.MOVE),
        (RENAMED, REFUSED, None),
        (SEEN, REFUSED_BEFORE, Kind.MOVE),
        (MARKED, REFUSED_BEFORE, None),
        (MARKED, REFUSED, None),
        (replace(MARKED, interval=ELEVEN), REFUSED, Kind.MOVE),
        (replace(FREE, interval=ELEVEN), REFUSED, None),
        (SEEN, OVERTAKEN, Kind.MOVE),
        (replace(SEEN, interval=PAST), OVERTAKEN, None),
        (replace(MOVED, deleted=True), LINKED, None),
        (MOVED, None, None),
    ],
)
def test_changed(seen: Seen, agreed: Agreed | None, kind: Kind | None) -> None:
    assert plan(Job.UPDATE, seen, agreed) is kind


def test_a_wish_has_one_key_per_state_of_its_event() -> None:
    known = Known({}, set(), set())
    (wish,) = plan_proposals(Job.NEW, [SEEN], known, calendar_id=CalendarId(7), now=NOW)
    assert wish.key == "7:book:2:e"


def at(updated: datetime | None, version: str = "2") -> Seen:
    return replace(SEEN, updated=updated, version=version)


@pytest.mark.parametrize(
    ("incoming", "stored", "newer"),
    [
        (EVENT, None, True),
        (EVENT, at(EARLIER), True),
        (EVENT, at(NOW), False),
        (EVENT, at(NOW, version="1"), True),
        (EVENT, at(LATER), False),
        (EVENT, at(LATER, version="1"), False),
        (EVENT, at(None), True),
        (EVENT, replace(GONE, updated=LATER), False),
        (EVENT, replace(GONE, updated=NOW), True),
        (Removal(ID), at(LATER), True),
        (Removal(ID, NOW), at(LATER), False),
        (Removal(ID, NOW), at(NOW), True),
        (Removal(ID, NOW), at(EARLIER), True),
    ],
)
def test_the_vendors_order_decides_and_not_arrival(
    incoming: RemoteEvent | Removal,
    stored: Seen | None,
    newer: bool,  # noqa: FBT001 - a table
) -> None:
    assert is_newer(incoming, stored) is newer


def test_a_feed_may_repeat_itself_and_its_last_word_counts() -> None:
    changed = replace(EVENT, version="3")
    changes: list[Change] = [EVENT, Unparsed("odd", "start", "is odd", {}), changed]
    assert last_of_each(changes) == {ID: changed}
    assert last_of_each([EVENT, Removal(ID)]) == {ID: Removal(ID)}


def test_what_a_full_read_should_show() -> None:
    assert live_in([SEEN, GONE, replace(SEEN, interval=None), FREE], window=TEN) == [SEEN, FREE]
    assert live_in([SEEN], window=ELEVEN) == []


@pytest.mark.parametrize(
    ("missing", "of", "stopped"),
    [(0, 0, False), (4, 4, False), (5, 5, True), (19, 100, False), (20, 100, True), (21, 101, True)],
)
def test_the_brake(missing: int, of: int, stopped: bool) -> None:  # noqa: FBT001 - a table
    assert Brake().stops(gone=missing, of=of) is stopped
