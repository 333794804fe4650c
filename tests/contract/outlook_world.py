"""An Outlook emulator on a real port, and a client of it, for the contract tests."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
import uvicorn

from providers.emulation import build_app
from providers.outlook.client import OutlookCalendar, OutlookCredentials, OutlookService
from providers.outlook.emulator import OutlookEmulator
from sync.domain import CalendarId, CalendarRef, EventDraft, Interval, Role, WriteKey

NINE = datetime(2027, 3, 8, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = Interval(NINE - timedelta(days=1), NINE + timedelta(days=3))


@dataclass
class World:
    url: str
    emulator: OutlookEmulator
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def credentials(self, *, secret: str = "s3cret") -> OutlookCredentials:  # noqa: S107 - the emulator takes any
        return OutlookCredentials("tenant", "client", secret, base_url=f"{self.url}/v1.0", login_url=self.url)

    def service(self, *, timeout: tuple[float, float] = (5, 20)) -> OutlookService:
        return OutlookService(self.credentials(), timeout=timeout)

    def ref(self, *, zone: str = "America/Chicago", remote: str = "") -> CalendarRef:
        mailbox = remote or f"Agent{next(self.numbers)}@Example.com"
        return CalendarRef(CalendarId(1), "dana", "outlook", mailbox, Role.MASTER, zone)

    def control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/_control/{path}", json=body, timeout=10)
        answer.raise_for_status()
        shown: dict[str, Any] = answer.json()
        return shown

    def fault(self, kind: str, **details: object) -> None:
        self.control("faults", {"kind": kind, **details})

    def books(self) -> dict[str, Any]:
        counted: dict[str, Any] = requests.get(f"{self.url}/_control/requests", timeout=10).json()
        return counted


@dataclass
class Desk:
    """One mailbox: our client of it, and a person at it."""

    world: World
    ref: CalendarRef
    client: OutlookCalendar

    def types(
        self, *, title: str = "Dentist", start: datetime = NINE, end: datetime | None = None, **more: object
    ) -> str:
        raw = {"raw": more.pop("raw")} if "raw" in more else {}
        event = {"title": title, "start": start.isoformat(), "end": (end or start + HOUR).isoformat(), **more}
        return self.act("create", event=event, **raw)

    def plants(self, raw: dict[str, Any]) -> str:
        return self.act("create", raw=raw)

    def act(self, action: str, **details: object) -> str:
        body = {"action": action, "calendar": self.ref.remote, **details}
        return str(self.world.control("events", body).get("id"))

    def fault(self, kind: str, **details: object) -> None:
        self.world.fault(kind, calendar=self.ref.remote.lower(), **details)


def open_desk(world: World, service: OutlookService | None = None, *, zone: str = "America/Chicago") -> Desk:
    ref = world.ref(zone=zone)
    return Desk(world, ref, (service or world.service()).calendar(ref))


def draft(*, start: datetime = NINE, hours: float = 1, title: str = "Showing") -> EventDraft:
    return EventDraft(Interval(start, start + hours * HOUR), title, body="by watertight")


def key(name: str = "write-1") -> WriteKey:
    return WriteKey(name)


@contextmanager
def served(*, journal: Path | None = None) -> Iterator[World]:
    emulator = OutlookEmulator(journal=journal)
    config = uvicorn.Config(build_app(emulator), port=0, log_level="error", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield World(f"http://127.0.0.1:{port}", emulator)
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(5)
