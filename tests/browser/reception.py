"""Everything behind the booking page: the web process, PostgreSQL, Valkey, a commit worker and an emulated master."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import BrowserContext, ConsoleMessage, Page
from pydantic import SecretStr
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from models.agents import Agent, Calendar
from models.feeds import Cursor
from models.session import transaction
from sync.openings import WEEKDAYS
from tests.faults.rig import Rig, Worker, running
from tests.integration.served import Web, serve
from workers.embedded import EmbeddedPostgres

ALWAYS = {day: ["00:00-24:00"] for day in WEEKDAYS}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SHORT_HOLD_SECONDS = 2


@dataclass
class Reception:
    """``hasty`` is a second web process on the same database whose holds run out in seconds."""

    rig: Rig
    web: Web
    hasty: Web
    worker: Worker
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def agent(self, name: str = "Dana Whitfield", *, read: timedelta | None = timedelta(), days: int = 10) -> str:
        """Somebody new who can be booked at any hour; ``read`` ago is when the master was last read, None: never."""
        slug = f"desk-{next(self.numbers)}"
        with transaction(self.rig.runtime.sessions) as session:
            agent = Agent(slug=slug, name=name, zone="UTC", working_hours=ALWAYS, booking_days=days)
            agent.appointment_minutes = 60
            agent.calendars = [Calendar(provider="outlook", remote=f"{slug}@example.com", role="master")]
            session.add(agent)
            session.flush()
            if read is not None:
                moment = datetime.now(UTC) - read
                jobs = ("new", "cancel", "update")
                session.add_all([Cursor(calendar_id=agent.calendars[0].id, job=job, read_at=moment) for job in jobs])
        return slug

    def booked(self, slug: str) -> list[tuple[str, datetime]]:
        """Title and start of what is in the ledger."""
        query = (
            "SELECT a.title, a.starts_at FROM appointments a JOIN agents g ON g.id = a.agent_id WHERE g.slug = :slug"
        )
        return [(row[0], row[1]) for row in self.rig.sql(f"{query} ORDER BY a.starts_at", slug=slug)]

    def on_master(self, slug: str) -> list[str]:
        """The titles that Outlook shows."""
        entries = self.rig.outlook.store.entries(f"{slug}@example.com")
        return [entry.data["subject"] for entry in entries if not entry.deleted]

    def address(self) -> dict[str, str]:
        """The headers of a visitor from an address of their own, as a proxy on this machine would add them."""
        return {"X-Forwarded-For": f"192.0.2.{next(self.numbers) % 250 + 1}"}


@contextmanager
def receiving(postgres: EmbeddedPostgres, folder: Path) -> Iterator[Reception]:
    admin = create_engine(
        postgres.url().replace("/watertight?", "/postgres?"), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE browser TEMPLATE watertight"))
    with ExitStack() as stack:
        rig = stack.enter_context(running(postgres, "browser", folder))
        worker = rig.workers.start()
        stack.callback(rig.workers.end_all)
        webs: dict[str, Web] = {}
        for name, seconds in (("web", 300), ("hasty", SHORT_HOLD_SECONDS)):
            (folder / name).mkdir()
            told = {"BROKER_URL": _plain(rig.settings.broker_url), "BOOKING_HOLD_SECONDS": str(seconds)}
            settings = {f"WATERTIGHT_{key}": value for key, value in told.items()}
            url = _plain(rig.settings.database_url)
            webs[name] = stack.enter_context(serve(folder / name, database_url=url, **settings))
        yield Reception(rig, webs["web"], webs["hasty"], worker)
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE browser WITH (FORCE)"))


def _plain(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()


@dataclass
class Visitor:
    """A browser of one's own: what it was told and what it asked for."""

    context: BrowserContext
    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: ConsoleMessage) -> None:
        """A refusal is an answer like any other, though browsers print it."""
        if message.type in {"error", "warning"} and "status of 409" not in message.text:
            self.complaints.append(message.text)
