"""One agent with real calendars on the rig: what people do there, how work is recovered, and what must hold afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from models.agents import Agent, Calendar
from models.figures import list_bookings, list_judged_events
from models.session import transaction
from providers.emulation import Emulator, HumanAction, HumanEvent
from sync.audit import Booking, Shown, compare
from sync.boundaries import Boundary, watched
from sync.domain import (
    AppointmentId,
    CalendarId,
    CalendarRef,
    EventDraft,
    Interval,
    Job,
    RemoteEvent,
    RemoteId,
    Role,
    WriteKey,
)
from sync.intake import Request, receive
from tests.faults.rig import Message, Rig
from tests.integration.world import TOMORROW

TASKS = {
    Job.NEW: "NewAppointmentSync.calendar",
    Job.CANCEL: "CancellationSync.calendar",
    Job.UPDATE: "UpdateSync.calendar",
}
Decided = tuple[str, str]
"""The kind of a proposal and the reason of its decision."""

DAY = Interval(TOMORROW, TOMORROW + timedelta(days=1))


class DiedError(BaseException):
    """Nothing in the engine can catch this, as nothing catches SIGKILL."""


@dataclass(frozen=True)
class Feed:
    """One calendar, as its owner sees it in the vendor's own window."""

    rig: Rig
    ref: CalendarRef
    emulator: Emulator

    def type(self, interval: Interval, title: str = "Dentist") -> str:
        return self._act("create", interval, title=title)

    def drag(self, remote_id: str, to: Interval) -> str:
        return self._act("change", to, remote_id=remote_id)

    def delete(self, remote_id: str) -> str:
        return self._act("delete", None, remote_id=remote_id)

    def _act(
        self, action: str, interval: Interval | None, *, remote_id: str | None = None, title: str | None = None
    ) -> str:
        event = HumanEvent(start=interval.start, end=interval.end, title=title) if interval else HumanEvent()
        shown = self.emulator.act(HumanAction(action=action, calendar=self.ref.remote, id=remote_id, event=event))
        return str(shown.get("id", remote_id))

    def live(self) -> dict[str, str]:
        """Who created each event that is there."""
        entries = self.emulator.store.entries(self.ref.remote)
        return {entry.id: entry.created_by for entry in entries if not entry.deleted}

    def read(self) -> list[RemoteEvent]:
        return sorted(self.rig.runtime.calendars.reader(self.ref).read_window(DAY), key=lambda event: event.interval)

    def busy(self) -> list[Interval]:
        return [event.interval for event in self.read() if event.blocks]

    def only(self) -> str:
        """The one event that is there."""
        (remote_id,) = self.live()
        return remote_id

    def job(self, job: Job) -> Message:
        return TASKS[job], (self.ref.id,)


@dataclass
class Cell:
    """An agent of one test's own: master on Outlook, mirrors on Google."""

    rig: Rig
    slug: str
    master: Feed
    mirrors: list[Feed]
    asked: int = 0
    feeds: list[Feed] = field(init=False)

    def __post_init__(self) -> None:
        self.feeds = [self.master, *self.mirrors]

    @property
    def mirror(self) -> Feed:
        return self.mirrors[0]

    def of(self, role: Role) -> Feed:
        return next(feed for feed in self.feeds if feed.ref.role is role)

    @property
    def agent_id(self) -> int:
        return int(self.rig.sql("SELECT id FROM agents WHERE slug = :slug", slug=self.slug)[0][0])

    # Roads by which wishes come in

    def ask(self, interval: Interval, title: str = "Demo") -> str:
        """A proposal through the API; its reference."""
        self.asked += 1
        request = Request(f"{self.slug}-{self.asked}", self.slug, interval, title)
        return f"proposal:{receive(self.rig.runtime.sessions, request).id}"

    def book(self, interval: Interval) -> None:
        """A settled appointment that master and mirrors show, without a job having run."""
        self.rig.engine.commit(self.ask(interval))
        self.work()

    def abandon(self, reference: str, boundary: Boundary) -> None:
        """Work that breaks off at a boundary, its lease run out; here, where only what it leaves behind matters."""

        def die(passed: Boundary) -> None:
            if passed is boundary:
                raise DiedError

        with watched(die), suppress(DiedError):
            self.rig.engine.commit(reference)
        self.expire_leases()

    def look(self, feed: Feed, job: Job) -> None:
        """Let a job read up to here, so that its next read starts from a cursor."""
        self.rig.detector.run(job, feed.ref.id)

    def plant(self, interval: Interval, key: str) -> None:
        """What a worker does that woke up late: the event of a write that has been given up."""
        writer = self.rig.committing.calendars.writer(self.master.ref)
        writer.create(EventDraft(interval, "Demo"), key=WriteKey(key))

    # Recovery

    def due(self) -> list[str]:
        rows = self.rig.sql(
            "SELECT 'proposal:' || id FROM proposals WHERE agent_id = :agent AND state NOT IN ('settled', 'refused')"
            " UNION ALL SELECT 'write:' || w.id FROM writes w JOIN calendars c ON c.id = w.calendar_id"
            " WHERE w.agent_id = :agent AND w.state = 'due' AND c.role <> 'master'",
            agent=self.agent_id,
        )
        return [row[0] for row in rows]

    def expire_leases(self) -> None:
        past = "clock_timestamp() - interval '1 second'"
        mine = "calendar_id IN (SELECT id FROM calendars WHERE agent_id = :agent)"
        for table in ("writes", "cursors"):
            statement = f"UPDATE {table} SET leased_until = {past} WHERE leased_until IS NOT NULL AND {mine}"  # noqa: S608
            self.rig.sql(statement, agent=self.agent_id)

    def hurry(self) -> None:
        """Let every wait be over."""
        self.rig.sql("UPDATE writes SET not_before = clock_timestamp() WHERE agent_id = :agent", agent=self.agent_id)
        self.rig.sql("UPDATE proposals SET not_before = clock_timestamp() WHERE agent_id = :agent", agent=self.agent_id)

    def work(self, *, rounds: int = 4) -> bool:
        """Work on what is due a few times; whether that was all."""
        for _ in range(rounds):
            due = self.due()
            if not due:
                return True
            self.hurry()
            for reference in due:
                self.rig.engine.commit(reference)
        return not self.due()

    def detect(self) -> int:
        """Every job once; how much they proposed."""
        runs = [self.rig.detector.run(job, feed.ref.id) for feed in self.feeds for job in Job]
        assert [run.skipped for run in runs] == [None] * len(runs)
        return sum(len(run.proposals) for run in runs)

    def quiesce(self, *, rounds: int = 6) -> None:
        """Ordinary work until neither jobs nor commit task find anything to do."""
        for _ in range(rounds):
            found = self.detect()
            if self.work() and not found:
                return
        message = f"never quiet: {self.decided()} {self.due()}"
        raise AssertionError(message)

    def recover(self) -> None:
        """What a fleet does about a dead worker, without its waits."""
        self.master.emulator.faults.clear()
        self.rig.forget_messages()
        self.expire_leases()
        self.quiesce()

    def recover_by_worker(self) -> None:
        """The same by a second real worker, from what beat sends and from nothing else."""
        self.rig.forget_messages()
        self.expire_leases()
        worker = self.rig.workers.start()
        before: list[Decided] = []
        while self.due() or before != self.decided():
            before = self.decided()
            self.hurry()
            jobs = [feed.job(job) for feed in self.feeds for job in Job]
            self.rig.publish([("ResumeCommits", ()), *jobs])
            self.rig.drain()
        worker.end()

    # What must hold

    def decided(self) -> list[Decided]:
        rows = self.rig.sql(
            "SELECT p.kind, d.reason FROM proposals p LEFT JOIN decisions d ON d.proposal_id = p.id"
            " WHERE p.agent_id = :agent ORDER BY 1, 2",
            agent=self.agent_id,
        )
        return [(kind, str(reason)) for kind, reason in rows]

    def assert_whole(
        self, *, busy: Sequence[Interval], decided: Sequence[Decided], echoes: Sequence[Decided] = ()
    ) -> None:
        """P1, P2, P4, P5, and that nothing is left in anybody's hands. Each of ``echoes`` may have been decided too."""
        extra = Counter(self.decided()) - Counter(decided)
        found = {
            "decided": sorted((Counter(self.decided()) - (extra & Counter(echoes))).elements()),
            "busy": [feed.busy() for feed in self.feeds],
            "events on the master": len(self.master.live()),
            "drift": [str(finding) for finding in self.drift()],
            "left over": {what: number for what, number in self.leftovers().items() if number},
        }
        wanted = {
            "decided": sorted(decided),
            "busy": [list(busy)] * len(self.feeds),
            "events on the master": len(busy),
            "drift": [],
            "left over": {},
        }
        wrong = {what: (found[what], wanted[what]) for what in wanted if found[what] != wanted[what]}
        assert not wrong, f"{wrong}, of {self.decided()}"

    def leftovers(self) -> dict[str, int]:
        return {what: self.rig.sql(query, agent=self.agent_id)[0][0] for what, query in LEFTOVERS.items()}

    def drift(self) -> Sequence[object]:
        """The ledger beside every calendar."""
        with transaction(self.rig.runtime.sessions) as session:
            figures = list_bookings(session, start=DAY.start, end=DAY.end)
            judged = {(CalendarId(number), RemoteId(remote)) for number, remote in list_judged_events(session)}
        bookings = [
            Booking(
                AppointmentId(figure.id),
                figure.agent,
                Interval(figure.starts_at, figure.ends_at),
                figure.holds_slot,
                figure.placed_by == "master",
                figure.placed_at,
                {CalendarId(number): RemoteId(remote) for number, remote in figure.events.items()},
            )
            for figure in figures
            if figure.agent == self.slug
        ]
        return compare(bookings, [self._shown(feed) for feed in self.feeds], judged=judged).broken

    def _shown(self, feed: Feed) -> Shown:
        ours = frozenset(RemoteId(name) for name, maker in feed.live().items() if maker != "human")
        return Shown(feed.ref, tuple(feed.read()), ours)


LEFTOVERS = {
    "overlapping live slots": "SELECT count(*) FROM slots a JOIN slots b ON a.agent_id = b.agent_id AND a.id < b.id"
    " AND a.during && b.during AND a.state IN ('held', 'booked') AND b.state IN ('held', 'booked')"
    " WHERE a.agent_id = :agent",
    "held slots": "SELECT count(*) FROM slots WHERE agent_id = :agent AND state = 'held'",
    "slots without an appointment": "SELECT count(*) FROM slots s WHERE s.agent_id = :agent AND s.state = 'booked'"
    " AND NOT EXISTS (SELECT FROM appointments a WHERE a.slot_id = s.id AND a.state = 'confirmed'"
    " AND tstzrange(a.starts_at, a.ends_at) = s.during)",
    "due writes": "SELECT count(*) FROM writes WHERE agent_id = :agent AND state = 'due'",
    "leases": "SELECT (SELECT count(*) FROM writes WHERE agent_id = :agent AND leased_until IS NOT NULL)"
    " + (SELECT count(*) FROM cursors r JOIN calendars c ON c.id = r.calendar_id"
    " WHERE c.agent_id = :agent AND r.leased_until IS NOT NULL)",
    "undecided proposals": "SELECT count(*) FROM proposals WHERE agent_id = :agent AND"
    " (state NOT IN ('settled', 'refused') OR decided_at IS NULL)",
    "proposals decided twice": "SELECT count(*) FROM (SELECT FROM decisions d JOIN proposals p ON p.id = d.proposal_id"
    " WHERE p.agent_id = :agent GROUP BY p.id HAVING count(*) > 1) AS twice",
    "changes proposed twice": "SELECT count(*) FROM (SELECT FROM proposals WHERE agent_id = :agent"
    " GROUP BY kind, calendar_id, remote_id, remote_version HAVING count(*) > 1 AND calendar_id IS NOT NULL) AS twice",
}


def add_cell(rig: Rig, *, mirrors: int = 1) -> Cell:
    slug = f"agent-{next(rig.numbers)}"
    kinds = [("outlook", "master", "master"), *(("google", "mirror", f"mirror{n}") for n in range(mirrors))]
    with transaction(rig.runtime.sessions) as session:
        agent = Agent(slug=slug, zone="America/Chicago")
        agent.calendars = [
            Calendar(provider=provider, remote=f"{slug}-{name}@example.com", role=role)
            for provider, role, name in kinds
        ]
        session.add(agent)
        session.flush()
        refs = [
            CalendarRef(CalendarId(row.id), slug, row.provider, row.remote, Role(row.role), agent.zone)
            for row in agent.calendars
        ]
    emulators: dict[str, Emulator] = {"outlook": rig.outlook, "google": rig.google}
    feeds = [Feed(rig, ref, emulators[ref.provider]) for ref in refs]
    return Cell(rig, slug, feeds[0], feeds[1:])
