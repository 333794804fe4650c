"""What takes a person's time: every row of both vendors' tables, through the emulators, by each agent's policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from providers.emulation import HumanAction, HumanEvent
from sync.domain import BusyPolicy, RemoteId
from tests.contract.outlook_world import HOUR, NINE, served
from tests.contract.outlook_world import WINDOW as OUTLOOK_WINDOW
from tests.contract.outlook_world import World as OutlookWorld
from tests.fixtures.google.serving import MORNING, PERSON, WINDOW, Stage, calendar_ref, stage

POLICIES = [
    BusyPolicy(),
    BusyPolicy(tentative=False, unanswered=False, working_elsewhere=True, focus_time=False),
    *(BusyPolicy(**{each.name: each.name == only.name for each in fields(BusyPolicy)}) for only in fields(BusyPolicy)),
]


@dataclass(frozen=True)
class Row:
    """A line of a table: ``blocks`` is yes, no, or the part of the policy that decides."""

    name: str
    raw: dict[str, Any]
    blocks: bool | str

    def expected(self, policy: BusyPolicy) -> bool:
        return self.blocks if isinstance(self.blocks, bool) else bool(getattr(policy, self.blocks))


def answered(response: str, **more: object) -> dict[str, Any]:
    return {"responseStatus": {"response": response, "time": "0001-01-01T00:00:00Z"}, "isOrganizer": False, **more}


OUTLOOK = [
    Row("busy", {"showAs": "busy"}, blocks=True),
    Row("free", {"showAs": "free"}, blocks=False),
    Row("tentative", {"showAs": "tentative"}, "tentative"),
    Row("tentatively accepted", answered("tentativelyAccepted", showAs="tentative"), "tentative"),
    Row("working elsewhere", {"showAs": "workingElsewhere"}, "working_elsewhere"),
    Row("out of office", {"showAs": "oof"}, blocks=True),
    Row("unknown", {"showAs": "unknown"}, blocks=True),
    Row("new to us", {"showAs": "levitating"}, blocks=True),
    Row("focus time", {"showAs": "busy", "categories": ["Focus time"]}, blocks=True),
    Row("birthday", {"showAs": "free", "isAllDay": True, **{
        side: {"dateTime": f"2027-03-{day}T00:00:00.0000000", "timeZone": "UTC"}
        for side, day in (("start", "08"), ("end", "09"))
    }}, blocks=False),
    Row("declined", answered("declined", showAs="busy"), blocks=False),
    Row("accepted", answered("accepted", showAs="busy"), blocks=True),
    Row("not answered", answered("notResponded", showAs="tentative"), "unanswered"),
    Row("not answered, shown as busy", answered("notResponded", showAs="busy"), "unanswered"),
    Row("not answered, shown as free", answered("notResponded", showAs="free"), blocks=False),
    Row("nobody answers one's own", {"showAs": "busy", "responseStatus": {"response": "notResponded"}}, blocks=True),
    Row("private", {"sensitivity": "private", "subject": None, "attendees": [], "body": None}, blocks=True),
    Row("private, only shown as busy", {"sensitivity": "private", "subject": "Busy"}, blocks=True),
]  # fmt: skip


def me(response: str, **more: object) -> dict[str, Any]:
    return {"attendees": [{"email": PERSON, "self": True, "responseStatus": response, **more}]}


GOOGLE = [
    Row("default", {}, blocks=True),
    Row("opaque", {"transparency": "opaque"}, blocks=True),
    Row("transparent", {"transparency": "transparent"}, blocks=False),
    Row("tentative", {"status": "tentative"}, "tentative"),
    Row("perhaps", me("tentative"), "tentative"),
    Row("working location", {"eventType": "workingLocation"}, blocks=False),
    Row("birthday", {"eventType": "birthday"}, blocks=False),
    Row("out of office", {"eventType": "outOfOffice"}, blocks=True),
    Row("focus time", {"eventType": "focusTime"}, "focus_time"),
    Row("from a mail", {"eventType": "fromGmail"}, blocks=True),
    Row("new to us", {"eventType": "levitation"}, blocks=True),
    Row("declined", me("declined"), blocks=False),
    Row("accepted", me("accepted"), blocks=True),
    Row("not answered", me("needsAction"), "unanswered"),
    Row("not answered and transparent", {**me("needsAction"), "transparency": "transparent"}, blocks=False),
    Row("not answered, of a tentative event", {**me("needsAction"), "status": "tentative"}, "unanswered"),
    Row("one's own", me("needsAction", organizer=True), blocks=True),
    Row("declined by others", {"attendees": [{"email": "a@example.com", "responseStatus": "declined"}]}, blocks=True),
    Row("private", {"visibility": "private"}, blocks=True),
    Row("private, only shown as busy", {"visibility": "private", "summary": "busy"}, blocks=True),
]


@pytest.fixture(scope="module")
def outlook() -> Iterator[OutlookWorld]:
    with served() as world:
        yield world


@pytest.fixture(scope="module")
def google() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.mark.parametrize("row", OUTLOOK, ids=lambda row: row.name)
def test_outlook(outlook: OutlookWorld, row: Row) -> None:
    ref, service = outlook.ref(), outlook.service()
    event = {"title": "Row", "start": NINE.isoformat(), "end": (NINE + HOUR).isoformat()}
    outlook.control("events", {"action": "create", "calendar": ref.remote, "event": event, "raw": row.raw})
    for policy in POLICIES:
        calendar = service.calendar(replace(ref, busy=policy))
        (found,) = calendar.read_window(OUTLOOK_WINDOW)
        assert found.blocks is row.expected(policy), policy
    calendar = service.calendar(ref)
    (change,) = calendar.read_changes(None, window=OUTLOOK_WINDOW).changes
    assert calendar.read_window(OUTLOOK_WINDOW) == [change]
    assert calendar.find_event(RemoteId(str(change.remote_id))) == change


@pytest.mark.parametrize("row", GOOGLE, ids=lambda row: row.name)
def test_google(google: Stage, row: Row) -> None:
    world = google.world()
    event = HumanEvent(start=MORNING, end=MORNING + HOUR)  # without a title: Google leaves it out
    world.emulator.act(HumanAction(action="create", calendar=PERSON, event=event, raw=row.raw))
    for policy in POLICIES:
        calendar = world.service.calendar(replace(calendar_ref(), busy=policy))
        (found,) = calendar.read_window(WINDOW)
        assert found.blocks is row.expected(policy), policy
    (change,) = world.calendar.read_changes(None, window=WINDOW).changes
    assert world.calendar.read_window(WINDOW) == [change]
    assert world.calendar.find_event(RemoteId(str(change.remote_id))) == change


def test_cancelled_events_are_none_at_either_vendor(outlook: OutlookWorld, google: Stage) -> None:
    world, ref = google.world(), outlook.ref()
    event = {"start": NINE.isoformat(), "end": (NINE + HOUR).isoformat()}
    outlook.control(
        "events", {"action": "create", "calendar": ref.remote, "event": event, "raw": {"isCancelled": True}}
    )
    world.human_creates(raw={"status": "cancelled"})
    assert outlook.service().calendar(ref).read_window(OUTLOOK_WINDOW) == []
    assert world.calendar.read_window(WINDOW) == []


def test_every_part_of_the_policy_decides_somewhere() -> None:
    parts = {each.name for each in fields(BusyPolicy)}
    assert {row.blocks for row in [*OUTLOOK, *GOOGLE] if isinstance(row.blocks, str)} == parts
