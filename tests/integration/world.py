"""One agent with a master and a mirror in memory, and the engine over a real database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from models.agents import Agent, Calendar
from models.queries import ProposalRecord, find_proposal, list_appointments, list_due
from models.session import Sessions, transaction
from providers.memory import MemoryCalendar, MemoryCalendars
from sync.commit.engine import CommitEngine
from sync.commit.outcome import Outcome
from sync.detect import Detector, Report
from sync.domain import CalendarId, Interval, Job, ProposalId
from sync.intake import Request, receive

TOMORROW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=3)


def at(hour: float, minutes: float = 60) -> Interval:
    """An interval on the test's day: ``hour`` o'clock UTC, ``minutes`` long."""
    start = TOMORROW + timedelta(hours=hour)
    return Interval(start, start + timedelta(minutes=minutes))


@dataclass
class World:
    """What a test plays with."""

    app: Sessions
    commit_sessions: Sessions
    calendars: MemoryCalendars = field(default_factory=MemoryCalendars)
    ids: dict[str, CalendarId] = field(default_factory=dict)
    requests: int = 0

    @property
    def engine(self) -> CommitEngine:
        return CommitEngine(self.commit_sessions, self.calendars, rand=lambda: 0.0)

    @property
    def detector(self) -> Detector:
        return Detector(self.app, self.calendars)

    @property
    def master(self) -> MemoryCalendar:
        return self.calendars.of("dana-master")

    @property
    def mirror(self) -> MemoryCalendar:
        return self.calendars.of("dana-mirror")

    def add_agent(self, slug: str, *, mirrors: int = 1, buffer_minutes: int = 0) -> None:
        with transaction(self.app) as session:
            agent = Agent(slug=slug, zone="America/Chicago", buffer_before_minutes=buffer_minutes)
            names = [f"{slug}-master", *(f"{slug}-mirror{n or ''}" for n in range(mirrors))]
            agent.calendars = [
                Calendar(provider="memory", remote=name, role="mirror" if "mirror" in name else "master")
                for name in names
            ]
            session.add(agent)
            session.flush()
            self.ids |= {calendar.remote: CalendarId(calendar.id) for calendar in agent.calendars}

    def ask(
        self, interval: Interval, title: str = "Demo", *, agent: str = "dana", slot_version: int | None = None
    ) -> ProposalId:
        self.requests += 1
        request = Request(f"key-{self.requests}", agent, interval, title, slot_version=slot_version)
        return receive(self.app, request).id

    def detect(self, job: Job, calendar: str) -> Report:
        return self.detector.run(job, self.ids[calendar])

    def detect_all(self) -> None:
        for calendar in self.ids:
            for job in Job:
                self.detect(job, calendar)

    def decide(self, proposal_id: int) -> Outcome:
        return self.engine.commit(f"proposal:{proposal_id}")

    def settle(self, *, rounds: int = 30) -> None:
        """Work on everything that is due until nothing is, waiting for nothing."""
        for _ in range(rounds):
            self.hurry()
            due = self.due()
            if not due:
                return
            for reference in due:
                self.engine.commit(reference)
        message = f"never quiet: {self.due()}"
        raise AssertionError(message)

    def quiesce(self) -> None:
        for _ in range(4):
            self.detect_all()
            self.settle()

    def hurry(self) -> None:
        """Let every wait be over."""
        with transaction(self.commit_sessions) as session:
            session.execute(text("UPDATE writes SET not_before = clock_timestamp() WHERE state = 'due'"))
            session.execute(text("UPDATE proposals SET not_before = clock_timestamp() WHERE state = 'pending'"))

    def expire_leases(self) -> None:
        with transaction(self.commit_sessions) as session:
            session.execute(text("UPDATE writes SET leased_until = clock_timestamp() - interval '1 second'"))

    def due(self) -> list[str]:
        with transaction(self.app) as session:
            return list_due(session, limit=1000)

    def story(self, proposal_id: int) -> ProposalRecord:
        with transaction(self.app) as session:
            record = find_proposal(session, proposal_id)
        assert record is not None
        return record

    def reason(self, proposal_id: int) -> str | None:
        return self.story(proposal_id).reason

    def booked(self) -> list[Interval]:
        with transaction(self.app) as session:
            return [Interval(row.starts_at, row.ends_at) for row in list_appointments(session)]

    def assert_in_step(self) -> None:
        """P1 and P2: nothing overlaps in the ledger, and master and mirror show the appointments, once each."""
        booked = self.booked()
        shown = sorted(event.interval for event in self.mirror.events() if event.blocks)
        assert sorted(event.interval for event in self.master.events() if event.blocks) == booked
        assert shown == booked
