"""The world of ``world.py`` with the vendors' real clients: an Outlook master and a Google mirror, over HTTP to emulators."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from models.agents import Agent, Calendar
from models.session import transaction
from providers.emulated_faults import Fault
from providers.emulation import Emulator, HumanAction, HumanEvent, build_app
from providers.google import payloads as google
from providers.google.client import GoogleCredentials, GoogleService
from providers.google.emulator import GoogleEmulator
from providers.outlook import payloads as outlook
from providers.outlook.client import OutlookService
from providers.registry import Credentials, Provider, Registry, connect
from sync.commit.engine import CommitEngine
from sync.detect import Detector
from sync.domain import CalendarId, Interval, RemoteEvent, RemoteId
from sync.ports import Calendars
from tests.contract.outlook_world import World as OutlookWorld
from tests.contract.outlook_world import served
from tests.fixtures.google.serving import service_account, serving
from tests.integration.world import World

IMPATIENT = (5.0, 0.4)  # connect and read, in seconds: for vendors that store a write and then hang
HANG_SECONDS = 0.8

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Vendors:
    """Both emulators, served for many tests; a mailbox belongs to one test."""

    outlook: OutlookWorld
    google: GoogleEmulator
    google_url: str

    def credentials(self) -> Credentials:
        base, token = f"{self.google_url}/calendar/v3", f"{self.google_url}/token"
        return Credentials(
            self.outlook.credentials(), GoogleCredentials(service_account(), base_url=base, token_uri=token)
        )

    def connect(self) -> Registry:
        return connect(self.credentials())

    def connect_impatiently(self) -> Registry:
        known = self.credentials()
        assert known.outlook is not None
        assert known.google is not None
        return Registry(
            {
                Provider.OUTLOOK: OutlookService(known.outlook, timeout=IMPATIENT),
                Provider.GOOGLE: GoogleService(known.google, timeout=IMPATIENT),
            }
        )


@contextmanager
def serving_both() -> Iterator[Vendors]:
    emulator = GoogleEmulator()
    with served() as outlook_world, serving(build_app(emulator)) as url:
        yield Vendors(outlook_world, emulator, url)


@dataclass(frozen=True)
class Hands:
    """A person at one calendar, with the vendor's own window; and its vendor's bad days."""

    emulator: Emulator
    mailbox: str

    def arm(self, kind: str, *, match: str | None = None, times: int | None = 1, seconds: float | None = None) -> None:
        self.emulator.faults.arm(Fault(kind=kind, calendar=self.mailbox, match=match, times=times, seconds=seconds))

    def events(self) -> list[RemoteEvent]:
        rows = [entry.data for entry in self.emulator.store.entries(self.mailbox) if not entry.deleted]
        if isinstance(self.emulator, GoogleEmulator):
            return [google.parse_event(row, zone="UTC") for row in rows]
        return [outlook.parse_event(row, zone="UTC") for row in rows]

    def only(self) -> RemoteEvent:
        (event,) = self.events()
        return event

    def put(self, interval: Interval, title: str = "Human") -> RemoteId:
        typed = HumanEvent(start=interval.start, end=interval.end, title=title)
        return RemoteId(str(self._act("create", typed)["id"]))

    def drag(self, event: RemoteEvent, to: Interval) -> None:
        self._act("change", HumanEvent(start=to.start, end=to.end), remote_id=event.remote_id)

    def remove(self, event: RemoteEvent) -> None:
        self._act("delete", HumanEvent(), remote_id=event.remote_id)

    def _act(self, action: str, event: HumanEvent, *, remote_id: str | None = None) -> dict[str, object]:
        return self.emulator.act(HumanAction(action=action, calendar=self.mailbox, id=remote_id, event=event))


@dataclass
class VendorWorld(World):
    """Agent dana with an Outlook master and a Google mirror."""

    connected: Calendars | None = None
    hands: dict[str, Hands] = field(default_factory=dict)

    @property
    def engine(self) -> CommitEngine:
        assert self.connected is not None
        return CommitEngine(self.commit_sessions, self.connected, rand=lambda: 0.0)

    @property
    def detector(self) -> Detector:
        assert self.connected is not None
        return Detector(self.app, self.connected)

    @property
    def on_master(self) -> Hands:
        return self.hands["dana-master"]

    @property
    def on_mirror(self) -> Hands:
        return self.hands["dana-mirror"]

    def employ(self, vendors: Vendors, *, slug: str = "dana") -> None:
        """A new agent, with mailboxes that no test has used."""
        number = next(_numbers)
        rows = {
            f"{slug}-master": Calendar(provider="outlook", remote=f"{slug}{number}@example.com", role="master"),
            f"{slug}-mirror": Calendar(provider="google", remote=f"{slug}{number}@example.org", role="mirror"),
        }
        with transaction(self.app) as session:
            session.add(Agent(slug=slug, zone="America/Chicago", calendars=list(rows.values())))
            session.flush()
            self.ids = {name: CalendarId(calendar.id) for name, calendar in rows.items()}
        self.hands = {
            f"{slug}-master": Hands(vendors.outlook.emulator, f"{slug}{number}@example.com"),
            f"{slug}-mirror": Hands(vendors.google, f"{slug}{number}@example.org"),
        }

    def assert_in_step(self) -> None:
        """P1, P2, P4: ledger, slots, links and both calendars agree, everything is decided, and nothing is in hand."""
        booked = [(Interval(row.starts_at, row.ends_at), row.title) for row in self.appointments()]
        assert self.slots("held", "booked") == [interval for interval, _ in booked]
        for name, hands in self.hands.items():
            assert (name, sorted((event.interval, event.title) for event in hands.events())) == (name, booked)
            carried = {row.events[self.ids[name]] for row in self.appointments()}
            assert carried == {event.remote_id for event in hands.events()}
        assert self.sql("SELECT id FROM writes WHERE state = 'due' OR leased_until IS NOT NULL") == []
        assert self.sql("SELECT count(*) FROM proposals") == self.sql("SELECT count(*) FROM decisions")
