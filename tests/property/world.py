"""What an example plays with: agents and their calendars, the people, the jobs, and commit workers that may die or sleep."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from models.agents import Agent, Calendar
from models.session import transaction
from sync import boundaries
from sync.boundaries import Boundary
from sync.commit.engine import CommitEngine
from sync.detect import Detector
from sync.domain import CalendarId, Interval, Job, Kind, RemoteId, Unparsed, WriteKey
from sync.errors import MassChange, WatertightError
from sync.intake import Received, Request, receive
from sync.patience import release_calendar
from tests.property.calendars import Watch, WatchedCalendar, WatchedCalendars
from tests.property.stage import EPOCH, Stage

GRID = EPOCH + timedelta(days=10, hours=8)
GRID_MINUTES = 15
TITLES = ("Demo", "Call", "Lunch")
UNSAFE_REMOVALS = 3  # more at once may pull the mass-change brake, which then waits for a human
LEASE_SECONDS = 31.0

# Inside these a transaction is open: whoever sleeps there makes everybody wait, which is another test's subject.
IN_TRANSACTION = {
    Boundary.CLAIMING,
    Boundary.SETTLING,
    Boundary.REFUSING,
    Boundary.RESUMING,
    Boundary.FOLLOWING,
    Boundary.COPY_RECORDING,
    Boundary.JOB_STORING,
    Boundary.JOB_CURSOR,
    Boundary.RELEASING,
}


class Died(BaseException):
    """Nothing in the engine can catch this, as nothing catches SIGKILL."""


def at(start: int, quarters: int = 2) -> Interval:
    """Number ``start`` of the day's quarters of an hour, and so many of them long."""
    begin = GRID + timedelta(minutes=GRID_MINUTES * start)
    return Interval(begin, begin + timedelta(minutes=GRID_MINUTES * quarters))


LAST_WAIT = """
SELECT max(until) FROM (
  SELECT not_before AS until FROM proposals WHERE state = 'pending'
  UNION ALL SELECT greatest(not_before, leased_until) FROM writes WHERE state = 'due'
  UNION ALL SELECT leased_until FROM cursors
  UNION ALL SELECT held_until FROM slots
) AS waits
"""


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """``mirrors`` has each mirror's ``on_refusal`` and ``shows``."""

    slug: str
    buffers: tuple[int, int]
    mirrors: tuple[tuple[str, str], ...]


@dataclass
class World:
    """``agents`` by slug with their ids; ``ids`` the calendars' by name, in the order in which they were made."""

    stage: Stage
    watch: Watch = field(default_factory=Watch)
    calendars: WatchedCalendars = field(default_factory=WatchedCalendars)
    agents: dict[str, int] = field(default_factory=dict)
    ids: dict[str, CalendarId] = field(default_factory=dict)
    plans: list[AgentPlan] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    holds: list[Request] = field(default_factory=list)
    """What its visitor needs to book what is held: the hold, with its secret."""

    def __post_init__(self) -> None:
        self.engine = CommitEngine(self.stage.commit, self.calendars, rand=lambda: 0.0)
        self.detector = Detector(self.stage.app, self.calendars)

    def add(self, plan: AgentPlan) -> None:
        before, after = plan.buffers
        with transaction(self.stage.app) as session:
            agent = Agent(slug=plan.slug, zone="UTC", buffer_before_minutes=before, buffer_after_minutes=after)
            master = f"{plan.slug}-master"
            agent.calendars = [Calendar(provider="memory", remote=master, role="master")]
            agent.calendars += [
                Calendar(
                    provider="memory", remote=f"{plan.slug}-mirror{n}", role="mirror", on_refusal=refusal, shows=shows
                )
                for n, (refusal, shows) in enumerate(plan.mirrors, 1)
            ]
            session.add(agent)
            session.flush()
            self.agents[plan.slug] = agent.id
            self.ids |= {calendar.remote: CalendarId(calendar.id) for calendar in agent.calendars}
            names = [calendar.remote for calendar in agent.calendars]
        self.plans.append(plan)
        for name in names:
            self.calendars.use(
                WatchedCalendar(name, master=master, buffers=plan.buffers, watch=self.watch, is_due=self._is_due)
            )

    def calendar(self, number: int) -> WatchedCalendar:
        return self.calendars.of(list(self.ids)[number % len(self.ids)])

    def _is_due(self, name: str, remote_id: RemoteId | None, key: WriteKey | None) -> bool:
        query = """
            SELECT 1 FROM writes WHERE calendar_id = %(calendar)s AND state = 'due'
            AND action IN ('create', 'update') AND (key = %(key)s OR (%(key)s::text IS NULL AND remote_id = %(remote_id)s))
        """
        return bool(self.stage.rows(query, calendar=self.ids[name], key=key, remote_id=remote_id))

    # The parts that do the work

    def ask(self, request: Request) -> Received:
        """A wish through the API."""
        return receive(self.stage.app, request)

    def wish(self, **wish: Any) -> None:  # noqa: ANN401 - the fields of Request
        """A new one, and what its visitor remembers of a hold."""
        request = Request(f"key-{len(self.requests)}", **wish)
        received = self.ask(request)
        assert received.created
        self.requests.append(request)
        if request.kind is Kind.HOLD:
            self.holds.append(replace(request, hold=received.hold))

    def commit(self, reference: str) -> None:
        """One run of the commit task."""
        self.watch.reads.append(set())
        try:
            outcome = self.engine.commit(reference)
            self.stage.counts[f"outcome {type(outcome).__name__}"] += 1
        finally:
            self.watch.reads.pop()

    def detect(self, job: Job, calendar: WatchedCalendar) -> bool:
        """One run of a job, whose failure is its own affair; whether it proposed something."""
        try:
            report = self.detector.run(job, self.ids[calendar.name])
        except MassChange:
            self.stage.counts["mass change"] += 1
            self._release(calendar)
            return True
        except WatertightError as error:
            self.stage.counts[f"job failed: {error.code}"] += 1
            return False
        if not report.skipped:
            calendar.unread_removals.clear()
        return bool(report.proposals)

    def _release(self, calendar: WatchedCalendar) -> None:
        """A person who is called looks and says that the events are gone: in here they always are."""
        with transaction(self.stage.app) as session:
            release_calendar(session, session.get_one(Calendar, self.ids[calendar.name]))

    def rewind(self, job: Job, calendar: WatchedCalendar) -> None:
        """The feed will deliver everything since its beginning once more to this job."""
        self.stage.run(
            "UPDATE cursors SET value = '0' WHERE calendar_id = %(id)s AND job = %(job)s AND value IS NOT NULL",
            id=self.ids[calendar.name],
            job=job.value,
        )

    def open_references(self) -> list[str]:
        """Whatever somebody should still work on, due now or later."""
        return self._references(undone_only=True)

    def all_references(self) -> list[str]:
        return self._references(undone_only=False)

    def _references(self, *, undone_only: bool) -> list[str]:
        query = """
            SELECT 'proposal:' || id, 1 AS part, id FROM proposals
            WHERE state NOT IN ('settled', 'refused') OR NOT %(undone)s
            UNION ALL
            SELECT 'write:' || id, 2, id FROM writes
            WHERE (state = 'due' OR NOT %(undone)s) AND action IN ('copy', 'mark')
            UNION ALL
            SELECT 'hold:' || id, 3, id FROM proposals
            WHERE kind = 'hold' AND (id IN (SELECT held_by FROM slots) OR NOT %(undone)s)
            ORDER BY 2, 3
        """
        return [row[0] for row in self.stage.rows(query, undone=undone_only)]

    def open_wishes(self) -> list[tuple[str, WatchedCalendar, Interval]]:
        """Undecided wishes for time, with the master on which they want it."""
        query = """
            SELECT p.id, a.slug, p.starts_at, p.ends_at FROM proposals p JOIN agents a ON a.id = p.agent_id
            WHERE p.state NOT IN ('settled', 'refused') AND p.kind <> 'cancel' ORDER BY p.id
        """
        return [
            (f"proposal:{number}", self.calendars.of(f"{slug}-master"), Interval(start, end))
            for number, slug, start, end in self.stage.rows(query)
        ]

    def tally(self) -> None:
        """Count what was decided, so that a run can show that it was about something."""
        query = """
            SELECT concat('decided ', p.kind, ': ', d.reason), count(*)
            FROM decisions d JOIN proposals p ON p.id = d.proposal_id GROUP BY 1
        """
        self.stage.counts.update(dict(self.stage.rows(query)))

    # Deaths and sleep

    @contextlib.contextmanager
    def dying(self, crossing: int) -> Iterator[None]:
        """The block's worker dies as it passes its boundary number ``crossing``, if it gets there."""

        def die(boundary: Boundary) -> None:
            self.stage.counts[f"death at {boundary.value}"] += 1
            raise Died

        with contextlib.suppress(Died), self._at_crossing(crossing, die, safe=False):
            yield

    @contextlib.contextmanager
    def sleeping(self, crossing: int, meanwhile: Callable[[], object]) -> Iterator[None]:
        """The block's worker sleeps at its boundary number ``crossing``, until its lease is over and others have acted."""

        def sleep(boundary: Boundary) -> None:
            self.stage.counts[f"sleep at {boundary.value}"] += 1
            meanwhile()

        with self._at_crossing(crossing, sleep, safe=True):
            yield

    @contextlib.contextmanager
    def _at_crossing(self, crossing: int, act: Callable[[Boundary], object], *, safe: bool) -> Iterator[None]:
        passed = 0

        def watcher(boundary: Boundary) -> None:
            nonlocal passed
            passed += 1
            if passed >= crossing and not (safe and boundary in IN_TRANSACTION):
                boundaries.watch(None)
                act(boundary)

        with boundaries.watched(watcher):
            yield

    # The end of all trouble

    def quiesce(self, *, rounds: int = 12) -> None:
        """Everything works again and nobody does anything new: jobs and commit task run until they find nothing to do.

        Raises:
            AssertionError: that never comes.
        """
        for calendar in self.calendars.all():
            calendar.heal()
        for _ in range(rounds):
            self.stage.jump(self._longest_wait() + 60)
            found = [self.detect(job, calendar) for calendar, job in self._behind()]
            if self._work() and not any(found) and not self._behind():
                return
        raise AssertionError(f"never quiet: {self._unquiet()}")

    def _longest_wait(self) -> int:
        """Seconds until every lease and wait is over, however much longer jumps backwards have made them."""
        [(until,)] = self.stage.rows(LAST_WAIT)
        return max(0, int((until - self.stage.now()).total_seconds())) if until is not None else 0

    def look_again(self) -> None:
        """All jobs in another order, of which none may find anything after everything was quiet."""
        for job in reversed(Job):
            for calendar in self.calendars.all():
                assert not self.detect(job, calendar), f"{job} on {calendar.name} proposes although all was quiet"

    def _behind(self) -> list[tuple[WatchedCalendar, Job]]:
        """The jobs that have something to read. Those that read nothing would only cost time."""
        read = {(row[0], row[1]): row[2] for row in self.stage.rows("SELECT calendar_id, job, value FROM cursors")}
        every = [(calendar, job) for calendar in self.calendars.all() for job in Job]
        return [
            (calendar, job)
            for calendar, job in every
            if calendar.has_news_for(read.get((self.ids[calendar.name], job)))
        ]

    def _work(self, *, rounds: int = 4) -> bool:
        for _ in range(rounds):
            references = self.open_references()
            if not references:
                return True
            for reference in references:
                self.commit(reference)
            self.stage.jump(600)
        return False

    def _unquiet(self) -> Sequence[Any]:
        return self.stage.rows(
            "SELECT 'proposal', id, kind, state, calendar_id, remote_id FROM proposals"
            " WHERE state NOT IN ('settled', 'refused') UNION ALL"
            " SELECT 'write', id, action, last_error_code, calendar_id, remote_id FROM writes WHERE state = 'due'"
        )


def unreadable(name: str) -> Unparsed:
    """A record that nobody understands."""
    return Unparsed(f"{name}-odd", "start", "is missing", {"id": f"{name}-odd"})
