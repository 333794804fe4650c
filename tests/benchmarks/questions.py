"""Everything that the code asks of the database while people work with it, asked once, so that the plans can be looked at."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from models import console, console_lists, decisions, drift, endings, figures, gauges, incidents, letters, listings
from models import history as past
from models.queries import find_proposal, list_due, list_expired_holds, list_open
from models.session import Sessions, database_now, transaction
from models.visits import find_hold, find_newest_read, find_request
from models.weeks import find_week
from providers.memory import MemoryCalendars
from sync.audits import Auditor
from sync.availability import find_openings
from sync.commit.engine import CommitEngine
from sync.detect import Detector
from sync.domain import CalendarId, Interval, Job, Kind
from sync.hints import Received, list_lost, take_all
from sync.intake import Request, receive
from sync.pushes import Push
from sync.telling import tell
from workers.settings import Settings
from workers.silence import silent_jobs

AGENT = "agent-3"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass
class Asked:
    """The parts of a system whose vendor is in memory."""

    app: Sessions
    commit: Sessions
    vendor: MemoryCalendars
    settings: Settings

    def everything(self) -> None:
        with transaction(self.app) as session:
            rows = session.execute(text("SELECT calendars.id, remote, role FROM calendars JOIN agents ON agents.id = agent_id WHERE slug = :slug"), {"slug": AGENT})  # fmt: skip
            calendars = {role: (CalendarId(number), remote) for number, remote, role in rows}
            now = database_now(session)
        self.work(calendars, now=now)
        for question in (*self.looks(now), *self.pages(now)):
            with transaction(self.app) as session:
                question(session)

    def work(self, calendars: dict[str, tuple[CalendarId, str]], *, now: datetime) -> None:
        """Jobs, pushes, bookings, audits."""
        mirror_id, mirror = calendars["mirror"]
        typed = self.vendor.of(mirror).put(Interval(now + 3 * DAY, now + 3 * DAY + HOUR), "Demo")
        take_all(
            self.app,
            [Received("google", (Push("k", mirror_id, f"channel-{mirror_id}"), Push("l", event=typed.remote_id)))],
        )
        detector = Detector(self.app, self.vendor)
        for calendar_id, _ in calendars.values():
            for job in Job:
                detector.run(job, calendar_id)
        self.decide()
        self.vendor.of(mirror).put(Interval(now + 4 * DAY, now + 4 * DAY + HOUR), "Demo", remote_id=typed.remote_id)
        detector.run(Job.UPDATE, mirror_id)
        self.decide()
        start = now + 5 * DAY
        receive(self.app, Request("hold", AGENT, Interval(start, start + HOUR), kind=Kind.HOLD, hold_seconds=60))
        booked = receive(self.app, Request("book", AGENT, Interval(start + 2 * HOUR, start + 3 * HOUR), "Demo"))
        self.decide()
        with transaction(self.app) as session:
            found = find_proposal(session, booked.id)
        receive(self.app, Request("cancel", kind=Kind.CANCEL, appointment=found.appointment_id if found else None))
        self.decide()
        Auditor(self.app, self.vendor, reach=59 * DAY, confirm=HOUR).audit(3)
        find_openings(self.app, AGENT, Interval(now, now + 30 * DAY))

    def decide(self) -> None:
        """Whatever is due, and twice, since a copy follows a decision."""
        engine = CommitEngine(self.commit, self.vendor, rand=lambda: 0.0)
        for _ in range(2):
            with transaction(self.app) as session:
                due = list_due(session, limit=500)
            for reference in due:
                engine.commit(reference)

    def looks(self, now: datetime) -> Iterator[Callable[[Session], object]]:
        """What beat's jobs, the watch and the metrics ask all the time."""
        for job in Job:
            yield functools.partial(listings.list_due_calendars, job=job.value, fresh_seconds=270)
        yield lambda session: list_expired_holds(session, limit=500)
        yield list_lost
        yield lambda session: listings.list_broken(session, "Commit", within_seconds=300)
        yield lambda session: drift.list_due_agents(session, every=HOUR, again=HOUR)
        yield lambda session: endings.list_old_pictures(session, limit_seconds=900)
        yield lambda session: endings.find_oldest_due(session, ["proposal:1", "write:1"])
        yield lambda session: silent_jobs(session, self.settings, watching_since=now)
        yield lambda session: tell(session, runbook="docs/runbook.md")
        yield gauges.read_gauges
        yield list_open

    def pages(self, now: datetime) -> Iterator[Callable[[Session], object]]:
        """What the console, the API and the commands show."""
        yield lambda session: console.list_agents(session, now=now)
        yield lambda session: console.find_agent(session, AGENT, now=now)
        yield console.list_lags
        yield console.get_last_hour
        yield console_lists.list_alert_groups
        yield console_lists.list_open_alerts
        yield console_lists.count_dead_letters
        yield console_lists.list_actions
        yield lambda session: find_week(session, AGENT, start=now, end=now + 7 * DAY)
        yield lambda session: find_proposal(session, 7)
        yield lambda session: decisions.find_decision(session, 7)
        yield lambda session: past.list_changes(session, "proposal:7", "write:7")
        yield lambda session: past.calendar_as_of(session, 3, now - 90 * DAY)
        yield letters.list_dead_letters
        yield lambda session: letters.find_dead_letter(session, 1)
        yield incidents.list_incidents
        yield lambda session: incidents.list_incident_alerts(session, 1, limit=10)
        yield lambda session: find_hold(session, "secret")
        yield lambda session: find_newest_read(session, AGENT)
        yield lambda session: find_request(session, AGENT, "book")
        yield figures.get_newest_proposal
        yield lambda session: figures.list_bookings(session, start=now, end=now + 60 * DAY, agent_id=3)
        yield lambda session: decisions.list_decisions(session, limit=50)
        yield lambda session: decisions.list_decisions(session, limit=50, agent=AGENT)
