"""A system that nobody has heard of is connected by one line of the registry's table; nothing in ``sync`` changes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from models.agents import Calendar
from models.session import Sessions, transaction
from providers.memory import MemoryCalendars
from providers.registry import SERVICES, Credentials, connect
from sync.domain import (
    CalendarId,
    CalendarRef,
    ChangeSet,
    EventDraft,
    Interval,
    Job,
    RemoteEvent,
    RemoteId,
    Removal,
    Subscription,
    WriteKey,
)
from sync.errors import NotFound, Rejected, StaleVersion
from sync.ports import CalendarAdapter
from tests.architecture.test_house_style import parse, sources, words
from tests.integration.vendors import VendorWorld
from tests.integration.world import MemoryService, at, drag, shown
from workers.agents_file import read_agents, store_agents

AGENTS = """
agents:
  - slug: dana
    zone: America/Chicago
    calendars:
      - {provider: memory, remote: dana-master, role: master}
      - {provider: memory, remote: dana-mirror, role: mirror}
      - {provider: toy, remote: dana-toy, role: source}
"""
BEGINNING = datetime(2027, 1, 1, tzinfo=UTC)


@dataclass
class Toy:
    """The system and our client of it: a box of events, each with the number of its last change."""

    box: dict[RemoteId, tuple[int, RemoteEvent | Removal]] = field(default_factory=dict)
    number: int = 0

    # What a person does there

    def put(
        self, interval: Interval, title: str, *, remote_id: RemoteId | None = None, blocks: bool = True
    ) -> RemoteId:
        self.number += 1
        name, updated = remote_id or RemoteId(f"toy{self.number}"), BEGINNING + timedelta(seconds=self.number)
        event = RemoteEvent(name, f"v{self.number}", updated, interval, blocks=blocks, title=title)
        self.box[name] = (self.number, event)
        return name

    def throw_away(self, remote_id: RemoteId) -> None:
        self.number += 1
        self.box[remote_id] = (self.number, Removal(remote_id, BEGINNING + timedelta(seconds=self.number)))

    def events(self) -> list[RemoteEvent]:
        return [state for _, state in self.box.values() if isinstance(state, RemoteEvent)]

    # The port

    def read_changes(self, cursor: str | None, *, window: Interval, job: Job | None = None) -> ChangeSet:  # noqa: ARG002 - the port's shape
        told = [state for number, state in self.box.values() if number > int(cursor or 0)]
        return ChangeSet(tuple(told), str(self.number), full=cursor is None)

    def read_window(self, window: Interval) -> list[RemoteEvent]:
        return [event for event in self.events() if event.interval.overlaps(window)]

    def find_event(self, remote_id: RemoteId) -> RemoteEvent | None:
        return next((event for event in self.events() if event.remote_id == remote_id), None)

    def find_by_key(self, key: WriteKey) -> RemoteEvent | None:
        return next((event for event in self.events() if event.key == key), None)

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:
        if known := self.find_by_key(key):
            return known
        event = self._expect(self.put(draft.interval, draft.title, blocks=draft.blocks))
        self.box[event.remote_id] = (self.number, replace(event, key=key))
        return self._expect(event.remote_id)

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:
        self._expect(remote_id, version)
        return self._expect(self.put(draft.interval, draft.title, remote_id=remote_id, blocks=draft.blocks))

    def delete(self, remote_id: RemoteId, *, version: str) -> None:
        if self.find_event(remote_id) is not None:
            self._expect(remote_id, version)
            self.throw_away(remote_id)

    def subscribe(self, *, url: str, secret: str, expires: datetime) -> Subscription:  # noqa: ARG002 - the port's shape
        raise Rejected("toy: pushes nothing")

    def renew(self, subscription: Subscription, *, url: str, secret: str, expires: datetime) -> Subscription:  # noqa: ARG002
        raise Rejected("toy: pushes nothing")

    def unsubscribe(self, subscription: Subscription) -> None:
        """There is none."""

    def _expect(self, remote_id: RemoteId, version: str | None = None) -> RemoteEvent:
        event = self.find_event(remote_id)
        if event is None:
            raise NotFound("toy: gone")
        if version not in (None, event.version):
            raise StaleVersion("toy: changed")
        return event


class ToyService:
    """As ``connect`` makes it: its credentials are the box itself."""

    def __init__(self, toy: Toy, **_: object) -> None:
        self._toy = toy

    def calendar(self, ref: CalendarRef) -> CalendarAdapter:  # noqa: ARG002 - there is but one
        return self._toy


@dataclass(frozen=True, slots=True)
class ToyCredentials(Credentials):
    toy: Toy | None = None
    memory: MemoryCalendars | None = None


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    monkeypatch.setitem(SERVICES, "toy", ToyService)
    monkeypatch.setitem(SERVICES, "memory", lambda calendars, **_: MemoryService(calendars))
    return Toy()


@pytest.fixture
def world(toy: Toy, app_sessions: Sessions, commit_sessions: Sessions, tmp_path: Path) -> VendorWorld:
    file = tmp_path / "agents.yaml"
    file.write_text(AGENTS)
    world = VendorWorld(app_sessions, commit_sessions)
    world.connected = connect(ToyCredentials(toy=toy, memory=world.calendars))
    assert store_agents(app_sessions, read_agents(file)) == (1, 0)
    with transaction(app_sessions) as session:
        world.ids = {row.remote: CalendarId(row.id) for row in session.scalars(select(Calendar))}
    return world


def everywhere(world: VendorWorld, toy: Toy) -> list[list[Interval]]:
    at_toy = sorted(event.interval for event in toy.events() if event.blocks)
    return [world.booked(), shown(world.master), shown(world.mirror), at_toy]


def test_its_event_is_booked_moved_and_cancelled(world: VendorWorld, toy: Toy) -> None:
    name = toy.put(at(10), "Prospect")
    world.quiesce()
    assert everywhere(world, toy) == [[at(10)]] * 4
    toy.put(at(14), "Prospect", remote_id=name)
    world.quiesce()
    assert everywhere(world, toy) == [[at(14)]] * 4
    toy.throw_away(name)
    world.quiesce()
    assert everywhere(world, toy) == [[]] * 4
    assert world.reasons() == [("book", "accepted"), ("move", "accepted"), ("cancel", "accepted")]


def test_it_is_answered(world: VendorWorld, toy: Toy) -> None:
    """Its event follows the master, and says so if it was refused."""
    kept = toy.put(at(10), "Prospect")
    world.quiesce()
    drag(world.master, world.master.events()[0], at(12))
    world.quiesce()
    assert everywhere(world, toy) == [[at(12)]] * 4
    refused = toy.put(at(12), "Other")
    world.quiesce()
    assert everywhere(world, toy) == [[at(12)]] * 4
    told = {event.remote_id: (event.title, event.blocks) for event in toy.events()}
    assert told == {kept: ("Prospect", True), refused: ("[not booked] Other", False)}


def test_the_engine_names_nothing_that_stands_in_the_table() -> None:
    names = re.compile(rf"(?<![a-z])(?:{'|'.join(map(str, SERVICES))})(?![a-z])", re.IGNORECASE)
    named = {path.name: [word for word in words(parse(path)) if names.search(word)] for path in sources("sync")}
    assert {path: found for path, found in named.items() if found} == {}
