"""One agent with a master and a mirror in memory, and the engine over a real database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, select, text, update

from models.agents import Agent, Calendar
from models.queries import AppointmentRecord, ProposalRecord, find_proposal, list_appointments, list_due
from models.session import Sessions, transaction
from providers.memory import MemoryCalendar, MemoryCalendars
from sync.commit.engine import CommitEngine
from sync.commit.outcome import Outcome
from sync.detect import Detector, Report
from sync.domain import CalendarId, CalendarRef, Interval, Job, Kind, ProposalId, RemoteEvent
from sync.intake import Received, Request, receive

TOMORROW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=3)


def at(hour: float, minutes: float = 60) -> Interval:
    """An interval on the test's day: ``hour`` o'clock UTC, ``minutes`` long."""
    start = TOMORROW + timedelta(hours=hour)
    return Interval(start, start + timedelta(minutes=minutes))


def shown(calendar: MemoryCalendar) -> list[Interval]:
    """The busy times that a person sees."""
    return sorted(event.interval for event in calendar.events() if event.blocks)


def drag(calendar: MemoryCalendar, event: RemoteEvent, to: Interval) -> RemoteEvent:
    """A person moves an event."""
    return calendar.put(to, event.title, remote_id=event.remote_id, blocks=event.blocks)


@dataclass(frozen=True)
class MemoryService:
    """Calendars in memory as one service among others (``providers.registry``)."""

    calendars: MemoryCalendars

    def calendar(self, ref: CalendarRef) -> MemoryCalendar:
        return self.calendars.of(ref.remote)


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

    def add_agent(self, slug: str, *, mirrors: int = 1, before: int = 0, after: int = 0) -> None:
        """``before`` and ``after`` are the agent's buffers in minutes."""
        with transaction(self.app) as session:
            agent = Agent(slug=slug, zone="America/Chicago", buffer_before_minutes=before, buffer_after_minutes=after)
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

    def wish(self, kind: Kind, interval: Interval | None = None, **details: Any) -> Received:  # noqa: ANN401 - as Request has them
        """A person asks for something else than a plain booking."""
        self.requests += 1
        return receive(self.app, Request(f"key-{self.requests}", interval=interval, kind=kind, **details))

    def hold(self, interval: Interval, *, agent: str = "dana", seconds: int = 300) -> Received:
        """A settled hold of a visitor."""
        held = self.wish(Kind.HOLD, interval, agent=agent, hold_seconds=seconds)
        self.decide(held.id)
        assert self.reason(held.id) == "accepted"
        return held

    def add_source(self, remote: str, *, replaces: bool = False) -> MemoryCalendar:
        """A system that only proposes; with ``replaces`` a new time is a new event there."""
        calendar = self.add_mirror(remote, role="source")
        calendar.replaces = replaces
        return calendar

    def add_mirror(
        self, remote: str, *, agent: str = "dana", role: str = "mirror", provider: str = "memory", **settings: str
    ) -> MemoryCalendar:
        with transaction(self.app) as session:
            agent_id = session.scalars(select(Agent.id).where(Agent.slug == agent)).one()
            calendar = Calendar(agent_id=agent_id, provider=provider, remote=remote, role=role, **settings)
            session.add(calendar)
            session.flush()
            self.ids[remote] = CalendarId(calendar.id)
        return self.calendars.of(remote)

    def configure(self, calendar: str, **settings: str) -> None:
        with transaction(self.app) as session:
            session.execute(update(Calendar).where(Calendar.id == self.ids[calendar]).values(**settings))

    def book(self, interval: Interval, title: str = "Demo") -> AppointmentRecord:
        """A settled appointment that master and mirrors show."""
        proposal = self.ask(interval, title)
        self.quiesce()
        assert self.reason(proposal) == "accepted"
        return next(row for row in self.appointments() if row.id == self.story(proposal).appointment_id)

    def detect(self, job: Job, calendar: str) -> Report:
        return self.detector.run(job, self.ids[calendar])

    def detect_all(self, jobs: Sequence[Job] = tuple(Job)) -> list[ProposalId]:
        """Run every job once; the answer is what they proposed."""
        return [found for calendar in self.ids for job in jobs for found in self.detect(job, calendar).proposals]

    def detect_news(self, jobs: Sequence[Job] = tuple(Job)) -> list[ProposalId]:
        """``detect_all`` without those runs that would read nothing, with which half of the time of all tests went by."""
        query = (
            "SELECT calendar_id, job, value FROM cursors JOIN calendars ON calendars.id = calendar_id"
            " WHERE provider = 'memory' AND value IS NOT NULL AND opened_at > now() - interval '23 hours'"
        )
        cursors = {(calendar_id, Job(job)): value for calendar_id, job, value in self.sql(query)}

        def reads_nothing(job: Job, name: str) -> bool:
            calendar, cursor = self.calendars.of(name), cursors.get((self.ids[name], job))
            return type(calendar) is MemoryCalendar and cursor is not None and not calendar.may_answer(cursor)

        runs = [(job, calendar) for calendar in self.ids for job in jobs]
        return [
            found
            for job, calendar in runs
            if not reads_nothing(job, calendar)
            for found in self.detect(job, calendar).proposals
        ]

    def decide(self, proposal_id: int) -> Outcome:
        return self.engine.commit(f"proposal:{proposal_id}")

    def settle(self) -> None:
        """Work on everything that is due until nothing is, waiting for nothing."""
        assert self.work(rounds=30), f"never quiet: {self.due()}"

    def work(self, *, rounds: int = 3) -> bool:
        """Work on what is due a few times; whether that was all (a copy may wait until a job has seen the master)."""
        for _ in range(rounds):
            self.hurry()
            due = self.due()
            if not due:
                return True
            for reference in due:
                self.engine.commit(reference)
        return False

    def quiesce(self, *, rounds: int = 8) -> None:
        """Let jobs and commit task run until neither finds anything to do."""
        for _ in range(rounds):
            found = self.detect_news()
            if self.work() and not found and not self.detect_news(list(reversed(Job))):
                return
        message = f"never quiet: {self.reasons()} {self.due()}"
        raise AssertionError(message)

    def hurry(self) -> None:
        """Let every wait be over, and all of them at one moment: the first to ask then goes first, wherever its row lies."""
        with transaction(self.commit_sessions) as session:
            session.execute(text("UPDATE writes SET not_before = now() WHERE state = 'due'"))
            session.execute(text("UPDATE proposals SET not_before = now() WHERE state = 'pending'"))

    def expire_leases(self) -> None:
        with transaction(self.commit_sessions) as session:
            session.execute(text("UPDATE writes SET leased_until = clock_timestamp() - interval '1 second'"))

    def sql(self, statement: str, **values: object) -> list[Any]:
        """As the commit role, for looking and for turning back clocks."""
        with transaction(self.commit_sessions) as session:
            session.execute(
                text(
                    "SELECT set_config('watertight.cause', 'test', true), set_config('watertight.actor', 'test', true)"
                )
            )
            result = session.execute(text(statement), values)
            return [tuple(row) for row in result] if isinstance(result, CursorResult) and result.returns_rows else []

    def proposals(self) -> list[ProposalRecord]:
        return [self.story(row[0]) for row in self.sql("SELECT id FROM proposals ORDER BY id")]

    def reasons(self) -> list[tuple[str, str | None]]:
        return [(record.kind, record.reason) for record in self.proposals()]

    def alerts(self) -> list[tuple[str, str]]:
        """Code and severity of every open alert."""
        return self.sql("SELECT code, severity FROM alerts WHERE resolved_at IS NULL ORDER BY code")

    def slots(self, *states: str) -> list[Interval]:
        rows = self.sql(
            "SELECT lower(during), upper(during) FROM slots WHERE state = ANY(:states) ORDER BY 1", states=list(states)
        )
        return [Interval(*row) for row in rows]

    def appointments(self) -> list[AppointmentRecord]:
        with transaction(self.app) as session:
            return list_appointments(session)

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
        return sorted(Interval(row.starts_at, row.ends_at) for row in self.appointments())

    def assert_in_step(self) -> None:
        """P1 and P2: no time is left held, and master and mirrors show the appointments, once each."""
        assert self.slots("held") == []
        assert set(self.slots("booked")) <= set(self.booked())
        for name in self.ids:
            own = sorted(
                Interval(row.starts_at, row.ends_at) for row in self.appointments() if name.startswith(f"{row.agent}-")
            )
            assert (name, shown(self.calendars.of(name))) == (name, own)
