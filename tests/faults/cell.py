"""One agent with real calendars on the rig: what people do there, how work is recovered, and what must hold afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from models.agents import Agent, Calendar
from models.figures import list_bookings, list_judged_events
from models.session import transaction
from providers.emulation import Emulator
from sync.audit import Booking, Shown, compare
from sync.boundaries import Boundary, watched
from sync.domain import (
    AppointmentId,
    CalendarId,
    CalendarRef,
    EventDraft,
    Interval,
    Job,
    Kind,
    RemoteId,
    Role,
    WriteKey,
)
from sync.intake import Received, Request, receive
from tests.faults.feed import DAY, Feed
from tests.faults.leftovers import LEFTOVERS
from tests.faults.rig import Rig

Decided = tuple[str, str]
"""The kind of a proposal and the reason of its decision."""


class DiedError(BaseException):
    """Nothing in the engine can catch this, as nothing catches SIGKILL."""


@dataclass
class Cell:
    """An agent of one test's own, maybe with a colleague: master on Outlook, mirrors on Google."""

    rig: Rig
    slug: str
    master: Feed
    mirrors: list[Feed]
    colleague: Cell | None = None
    asked: int = 0
    feeds: list[Feed] = field(init=False)

    def __post_init__(self) -> None:
        self.feeds = [self.master, *self.mirrors, *(self.colleague.feeds if self.colleague else ())]

    @property
    def mirror(self) -> Feed:
        return self.mirrors[0]

    def of(self, role: Role) -> Feed:
        return next(feed for feed in self.feeds if feed.ref.role is role)

    @property
    def slugs(self) -> list[str]:
        return [self.slug, *(self.colleague.slugs if self.colleague else ())]

    @property
    def agents(self) -> list[int]:
        """The ids of whoever works here."""
        return [int(row[0]) for row in self.rig.sql("SELECT id FROM agents WHERE slug = ANY(:slugs)", slugs=self.slugs)]

    def appointment(self) -> int:
        """The number of the only one."""
        [(number,)] = self.rig.sql("SELECT id FROM appointments WHERE agent_id = ANY(:agents)", agents=self.agents)
        return int(number)

    # Roads by which wishes come in

    def ask(self, interval: Interval, title: str = "Demo") -> str:
        """A proposal through the API; its reference."""
        return f"proposal:{self.wish(Kind.BOOK, interval, title=title).id}"

    def wish(self, kind: Kind, interval: Interval | None = None, **details: Any) -> Received:  # noqa: ANN401 - as Request has them
        self.asked += 1
        whose = {"agent": self.slug} if kind in {Kind.BOOK, Kind.HOLD} else {}
        request = Request(f"{self.slug}-{self.asked}", interval=interval, kind=kind, **whose | details)
        return receive(self.rig.runtime.sessions, request)

    def book(self, interval: Interval) -> None:
        """A settled appointment that master and mirrors show, without a job having run."""
        self.rig.engine.commit(self.ask(interval))
        self.work()

    def hold(self, interval: Interval) -> str:
        """A settled hold of a visitor; the secret by which it is theirs."""
        held = self.wish(Kind.HOLD, interval)
        self.rig.engine.commit(f"proposal:{held.id}")
        assert held.hold is not None
        return held.hold

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
            "SELECT 'proposal:' || id FROM proposals WHERE agent_id = ANY(:agents) AND state NOT IN ('settled', 'refused')"
            " UNION ALL SELECT 'write:' || id FROM writes"
            " WHERE agent_id = ANY(:agents) AND state = 'due' AND action IN ('copy', 'mark')"
            " UNION ALL SELECT 'hold:' || held_by FROM slots"
            " WHERE agent_id = ANY(:agents) AND held_until <= clock_timestamp()",
            agents=self.agents,
        )
        return [row[0] for row in rows]

    def expire_leases(self) -> None:
        past = "clock_timestamp() - interval '1 second'"
        mine = "calendar_id IN (SELECT id FROM calendars WHERE agent_id = ANY(:agents))"
        for table in ("writes", "cursors"):
            statement = f"UPDATE {table} SET leased_until = {past} WHERE leased_until IS NOT NULL AND {mine}"  # noqa: S608
            self.rig.sql(statement, agents=self.agents)

    def end_holds(self) -> None:
        """Let every visitor's time be over."""
        over = "UPDATE slots SET held_until = clock_timestamp() - interval '1 ms' WHERE held_by > 0"
        self.rig.sql(f"{over} AND agent_id = ANY(:agents)", agents=self.agents)

    def hurry(self) -> None:
        """Let every wait be over."""
        self.rig.sql(
            "UPDATE writes SET not_before = clock_timestamp() WHERE agent_id = ANY(:agents)", agents=self.agents
        )
        self.rig.sql(
            "UPDATE proposals SET not_before = clock_timestamp() WHERE agent_id = ANY(:agents)", agents=self.agents
        )

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
            self.rig.publish([("ResumeCommits", ()), ("ReleaseHolds", ()), *jobs])
            self.rig.drain(beat=[("ResumeCommits", ())])
        worker.end()

    # What must hold

    def decided(self) -> list[Decided]:
        rows = self.rig.sql(
            "SELECT p.kind, d.reason FROM proposals p LEFT JOIN decisions d ON d.proposal_id = p.id"
            " WHERE p.agent_id = ANY(:agents) ORDER BY 1, 2",
            agents=self.agents,
        )
        return [(kind, str(reason)) for kind, reason in rows]

    def assert_whole(
        self,
        *,
        busy: Sequence[Interval],
        decided: Sequence[Decided],
        echoes: Sequence[Decided] = (),
        handed: Sequence[Interval] = (),
        kept: Sequence[Interval] = (),
    ) -> list[Decided]:
        """P1, P2, P4, P5, and that nothing is left in anybody's hands. Each of ``echoes`` may have been decided too.

        The answer is which of them were.
        """
        heard = (Counter(self.decided()) - Counter(decided)) & Counter(echoes)
        found = {
            "decided": sorted((Counter(self.decided()) - heard).elements()),
            "busy": [feed.busy() for feed in self.feeds],
            "events": [len(feed.live()) for feed in self.feeds if feed.ref.role is Role.MASTER],
            "kept": self.kept(),
            "drift": [str(finding) for finding in self.drift()],
            "left over": {what: number for what, number in self.leftovers().items() if number},
        }
        shown = {slug: list(handed) for slug in self.slugs} | {self.slug: list(busy)}
        wanted = {
            "decided": sorted(decided),
            "busy": [shown[feed.ref.agent] for feed in self.feeds],
            "events": [len(shown[feed.ref.agent]) for feed in self.feeds if feed.ref.role is Role.MASTER],
            "kept": list(kept),
            "drift": [],
            "left over": {},
        }
        wrong = {what: (found[what], wanted[what]) for what in wanted if found[what] != wanted[what]}
        assert not wrong, f"{wrong}, of {self.decided()}"
        return list(heard)

    def kept(self) -> list[Interval]:
        """What is held for visitors."""
        query = "SELECT lower(during), upper(during) FROM slots WHERE state = 'held' AND held_by IS NOT NULL"
        return [Interval(*row) for row in self.rig.sql(f"{query} AND agent_id = ANY(:agents)", agents=self.agents)]

    def leftovers(self) -> dict[str, int]:
        return {what: self.rig.sql(query, agents=self.agents)[0][0] for what, query in LEFTOVERS.items()}

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
            if figure.agent in self.slugs
        ]
        return compare(bookings, [self._shown(feed) for feed in self.feeds], judged=judged).broken

    def _shown(self, feed: Feed) -> Shown:
        ours = frozenset(RemoteId(name) for name, maker in feed.live().items() if maker != "human")
        return Shown(feed.ref, tuple(feed.read()), ours)


def add_cell(rig: Rig, *, mirrors: int = 1, colleague: bool = False) -> Cell:
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
    return Cell(rig, slug, feeds[0], feeds[1:], add_cell(rig) if colleague else None)
