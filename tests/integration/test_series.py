"""Recurring meetings of people, from the vendors' feeds to the appointments and the copies, and back to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import tenacity

from models.session import Sessions
from providers.emulation import HumanAction, HumanEvent
from sync.domain import Interval, RemoteId
from sync.ports import Calendars
from tests.integration.vendors import Hands, Vendors, VendorWorld, serving_both
from tests.integration.world import at

WEEKS = [at(10 + 7 * 24 * week) for week in range(3)]


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with serving_both() as vendors:
        yield vendors


@pytest.fixture(scope="module")
def connected(vendors: Vendors) -> Calendars:
    return vendors.connect()


@pytest.fixture
def world(
    vendors: Vendors,
    connected: Calendars,
    app_sessions: Sessions,
    commit_sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> VendorWorld:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())
    world = VendorWorld(app_sessions, commit_sessions, connected=connected)
    world.employ(vendors)
    return world


def types_series(hands: Hands, interval: Interval, recurrence: object) -> RemoteId:
    event = HumanEvent(start=interval.start, end=interval.end, title="Weekly")
    action = HumanAction(action="create", calendar=hands.mailbox, event=event, raw={"recurrence": recurrence})
    return RemoteId(str(hands.emulator.act(action)["id"]))


def changes(hands: Hands, series: str, **raw: object) -> None:
    hands.emulator.act(HumanAction(action="change", calendar=hands.mailbox, id=series, raw=raw))


def deletes(hands: Hands, event_id: str) -> None:
    hands.emulator.act(HumanAction(action="delete", calendar=hands.mailbox, id=event_id))


def weekly(times: int) -> dict[str, Any]:
    start = WEEKS[0].start
    pattern = {"type": "weekly", "interval": 1, "daysOfWeek": [f"{start:%A}".lower()]}
    bounds = {"type": "numbered", "numberOfOccurrences": times, "startDate": f"{start:%Y-%m-%d}"}
    return {"pattern": pattern, "range": bounds}


def test_a_series_on_a_mirror_is_booked_occurrence_by_occurrence(world: VendorWorld) -> None:
    series = types_series(world.on_mirror, WEEKS[0], ["RRULE:FREQ=WEEKLY;COUNT=3"])
    world.quiesce()
    assert world.booked() == WEEKS
    assert sorted(event.interval for event in world.on_master.events()) == WEEKS

    moved = Interval(WEEKS[1].start + timedelta(hours=2), WEEKS[1].end + timedelta(hours=2))
    world.on_mirror._act(
        "change", HumanEvent(start=moved.start, end=moved.end), remote_id=f"{series}_{WEEKS[1].start:%Y%m%dT%H%M%SZ}"
    )
    deletes(world.on_mirror, f"{series}_{WEEKS[2].start:%Y%m%dT%H%M%SZ}")
    world.quiesce()
    assert world.booked() == [WEEKS[0], moved]

    deletes(world.on_mirror, series)
    world.quiesce()
    assert world.booked() == []


def test_a_series_on_the_master_is_shown_on_the_mirror_and_follows_its_changes(world: VendorWorld) -> None:
    series = types_series(world.on_master, WEEKS[0], weekly(3))
    world.quiesce()
    assert world.booked() == WEEKS
    assert sorted(event.interval for event in world.on_mirror.events()) == WEEKS

    deletes(world.on_master, f"OID.{series}.{WEEKS[1].start:%Y-%m-%d}")
    world.quiesce()
    assert world.booked() == [WEEKS[0], WEEKS[2]]

    changes(world.on_master, series, recurrence=weekly(2))
    world.quiesce()
    assert [event.interval for event in world.on_mirror.events()] == [WEEKS[0]]

    deletes(world.on_master, series)
    world.quiesce()
    assert world.booked() == []
    assert world.on_mirror.events() == []
