"""The state machine: everything that may happen to a few agents' calendars, in any order, at any moment.

Numbers that pick something count modulo how many there are, so that a shorter example still means the same.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sync.domain import Job
from sync.errors import Malformed
from sync.intake import Request
from tests.property.faults import FAULTS, Fault
from tests.property.people import (
    CHANGES,
    CREATIONS,
    ENDINGS,
    LENGTHS,
    NUMBERS,
    PICKS,
    STARTS,
    Deed,
    anything,
    deeds,
)
from tests.property.promises import NEVER_A_VERSION, Promises
from tests.property.stage import EPOCH, Stage
from tests.property.world import LEASE_SECONDS, TITLES, AgentPlan, Died, World, at, unreadable

CROSSINGS = st.integers(1, 12)
JOBS = st.sampled_from(list(Job))
ORDERS = st.permutations(list(Job))
VERSIONS = st.sampled_from(["any", "any", "any", "current", "zero", "never"])
BUFFERS = st.sampled_from([(0, 0), (15, 0), (15, 30), (0, 15)])
MIRROR = st.tuples(st.sampled_from(["mark", "mark", "leave", "delete"]), st.sampled_from(["title", "title", "busy"]))
JUMPS = (1, 5, 40, 400, 26 * 3600, -1, -20, -40, -1800, -4 * 3600)
LAST_JUMP_SECONDS = 5 * 24 * 3600  # the day on which everything happens must stay in the future
STEPS_BETWEEN_RESTS = 20
HANDS = ("create", "update", "delete", "read_window", "find_event", "read_changes")


class Watertight(RuleBasedStateMachine):
    """Invariants after every step; convergence now and then, and always at the end."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        stage.empty()
        self.world = World(stage)
        self.promises = Promises(self.world)
        self.since_rest = 0

    @initialize(
        buffers=st.tuples(BUFFERS, BUFFERS),
        first=st.lists(MIRROR, min_size=1, max_size=2),
        second=st.lists(MIRROR, min_size=1, max_size=1),
    )
    def begin(
        self, buffers: tuple[tuple[int, int], ...], first: list[tuple[str, str]], second: list[tuple[str, str]]
    ) -> None:
        for slug, gap, mirrors in zip(("dana", "ben"), buffers, (first, second), strict=True):
            self.world.add(AgentPlan(slug, gap, tuple(mirrors)))

    # Wishes by API. Holds, explicit moves and cancellations, and moves to another agent get their rules here.

    @rule(agent=st.integers(0, 1), start=STARTS, length=LENGTHS, title=st.integers(0, 2), version=VERSIONS)
    def ask(self, agent: int, start: int, length: int, title: int, version: str) -> None:
        slug = list(self.world.agents)[agent]
        seen = {"any": None, "zero": 0, "never": NEVER_A_VERSION}.get(version, self._version(slug, start, length))
        key = f"key-{len(self.world.requests)}"
        request = Request(key, slug, at(start, length), TITLES[title], slot_version=seen)
        self.world.requests.append(request)
        assert self.world.ask(request).created
        self._count("ask")

    @precondition(lambda self: self.world.requests)
    @rule(pick=PICKS, changed=st.booleans())
    def ask_again(self, pick: int, *, changed: bool) -> None:
        request = self.world.requests[pick % len(self.world.requests)]
        if changed:
            other = Request(request.key, request.agent, request.interval, f"{request.title} changed")
            with pytest.raises(Malformed):
                self.world.ask(other)
        else:
            assert not self.world.ask(request).created
        self._count("ask_again")

    def _version(self, slug: str, start: int, length: int) -> int:
        rows = self.world.stage.rows(
            "SELECT version FROM slots WHERE agent_id = %(agent)s AND during = tstzrange(%(start)s, %(end)s)"
            " ORDER BY version DESC LIMIT 1",
            agent=self.world.agents[slug],
            start=at(start, length).start,
            end=at(start, length).end,
        )
        return int(rows[0][0]) if rows else 0

    # People

    @rule(deed=deeds(*CREATIONS))
    def somebody_adds(self, deed: Deed) -> None:
        self._do(deed)

    @rule(deed=deeds(*CHANGES))
    def somebody_changes(self, deed: Deed) -> None:
        self._do(deed)

    @rule(deed=deeds(*ENDINGS))
    def somebody_ends(self, deed: Deed) -> None:
        self._do(deed)

    @rule(deed=anything, method=st.sampled_from(HANDS), when=st.sampled_from(["before", "after"]))
    def somebody_will_act_during_a_call(self, deed: Deed, method: str, when: str) -> None:
        """The next call of this method finds a person at work on the same calendar."""
        calendar = self.world.calendar(deed.calendar)
        calendar.on(method, lambda: deed.do(calendar), after=when if method in {"create", "update", "delete"} else "before")
        self._count("meddle")

    def _do(self, deed: Deed) -> None:
        deed.do(self.world.calendar(deed.calendar))
        self._count(f"person: {deed.what}")

    # Vendors

    @rule(number=NUMBERS, fault=st.sampled_from(FAULTS))
    def vendor_will_fail(self, number: int, fault: Fault) -> None:
        self.world.calendar(number).fail(fault.method, fault.error(), after=fault.when)
        self._count("fault")

    @rule(number=NUMBERS)
    def cursors_expire(self, number: int) -> None:
        self.world.calendar(number).expire()
        self._count("expire")

    @rule(number=NUMBERS, job=JOBS)
    def feed_repeats_itself(self, number: int, job: Job) -> None:
        """Everything since the beginning is delivered once more."""
        name = self.world.calendar(number).name
        self.world.stage.run(
            "UPDATE cursors SET value = '0' WHERE calendar_id = %(id)s AND job = %(job)s AND value IS NOT NULL",
            id=self.world.ids[name],
            job=job.value,
        )
        self._count("repeat")

    @rule(number=NUMBERS)
    def feed_has_an_odd_record(self, number: int) -> None:
        calendar = self.world.calendar(number)
        calendar.unparsed = [] if calendar.unparsed else [unreadable(calendar.name)]
        self._count("odd record")

    # Time

    @rule(seconds=st.sampled_from(JUMPS))
    def clock_jumps(self, seconds: int) -> None:
        if (self.world.stage.now() - EPOCH).total_seconds() + seconds < LAST_JUMP_SECONDS:
            self.world.stage.jump(seconds)
        self._count("jump")

    # Our own processes. A nudge that is lost is a reference that no rule picks.

    @rule(number=NUMBERS, job=JOBS)
    def a_job_runs(self, number: int, job: Job) -> None:
        with self._mortal():
            self.world.detect(job, self.world.calendar(number))
        self._count("job")

    @rule(number=NUMBERS, order=ORDERS)
    def all_jobs_run(self, number: int, order: list[Job]) -> None:
        with self._mortal():
            for job in order:
                self.world.detect(job, self.world.calendar(number))
        self._count("jobs")

    @rule(number=NUMBERS, job=JOBS, crossing=st.integers(1, 5))
    def a_job_dies(self, number: int, job: Job, crossing: int) -> None:
        with self._mortal(), self.world.dying(crossing):
            self.world.detect(job, self.world.calendar(number))
        self._count("job dies")

    @rule(number=NUMBERS, job=JOBS, crossing=st.integers(1, 3), meanwhile=st.lists(anything, max_size=2), again=ORDERS)
    def a_job_sleeps(self, number: int, job: Job, crossing: int, meanwhile: list[Deed], again: list[Job]) -> None:
        calendar = self.world.calendar(number)

        def others() -> None:
            for deed in meanwhile:
                deed.do(self.world.calendar(deed.calendar))
            self.world.stage.jump(4 * LEASE_SECONDS)
            for other in again:
                self.world.detect(other, calendar)

        with self._mortal(), self.world.sleeping(crossing, others):
            self.world.detect(job, calendar)
        self._count("job sleeps")

    @rule(pick=PICKS, times=st.integers(1, 2))
    def a_reference_is_delivered(self, pick: int, times: int) -> None:
        if references := self.world.open_references():
            for _ in range(times):
                with self._mortal():
                    self.world.commit(references[pick % len(references)])
        self._count("commit")

    @rule(pick=st.integers(0, 40))
    def an_old_reference_is_delivered(self, pick: int) -> None:
        if references := self.world.all_references():
            with self._mortal():
                self.world.commit(references[pick % len(references)])
        self._count("commit anything")

    @rule(backwards=st.booleans(), at_most=st.integers(1, 8))
    def everything_due_is_delivered(self, at_most: int, *, backwards: bool) -> None:
        references = self.world.open_references()
        for reference in (references[::-1] if backwards else references)[:at_most]:
            with self._mortal():
                self.world.commit(reference)
        self._count("commit all")

    @rule(pick=PICKS, crossing=CROSSINGS)
    def a_worker_dies(self, pick: int, crossing: int) -> None:
        if references := self.world.open_references():
            with self._mortal(), self.world.dying(crossing):
                self.world.commit(references[pick % len(references)])
        self._count("commit dies")

    @rule(pick=PICKS, crossing=CROSSINGS, meanwhile=st.lists(anything, max_size=2), look=st.booleans(), times=st.integers(0, 2))
    def a_worker_sleeps(self, pick: int, crossing: int, meanwhile: list[Deed], times: int, *, look: bool) -> None:
        """Its lease runs out, people act, jobs look, others carry the same reference through; then it wakes up."""
        references = self.world.open_references()
        if not references:
            return
        reference = references[pick % len(references)]

        def others() -> None:
            for deed in meanwhile:
                deed.do(self.world.calendar(deed.calendar))
            self.world.stage.jump(LEASE_SECONDS)
            for job in Job if look else ():
                for calendar in self.world.calendars.all():
                    self.world.detect(job, calendar)
            for _ in range(times):
                self.world.commit(reference)
                self.world.stage.jump(LEASE_SECONDS)

        with self._mortal(), self.world.sleeping(crossing, others):
            self.world.commit(reference)
        self._count("commit sleeps")

    @precondition(lambda self: self.since_rest >= STEPS_BETWEEN_RESTS)
    @rule()
    def everybody_rests(self) -> None:
        self._rest()
        self._count("rest")

    # The judges

    @precondition(lambda self: bool(self.world.ids))
    @invariant()
    def the_promises_hold(self) -> None:
        self.promises.check_step()

    def teardown(self) -> None:
        if sys.exc_info()[0] is None and self.world.ids:
            self._rest()
            self.promises.check_step()
            for reason, number in self.world.stage.rows("SELECT kind || ': ' || d.reason, count(*) FROM decisions d JOIN proposals p ON p.id = d.proposal_id GROUP BY 1"):
                self.world.stage.counts[f"decided {reason}"] += number
        self.world.stage.counts["examples"] += 1

    def _rest(self) -> None:
        self.since_rest = 0
        self.world.quiesce()
        self.promises.check_quiet()

    def _count(self, what: str) -> None:
        self.since_rest += 1
        self.world.stage.counts[what] += 1
        self.world.stage.counts["steps"] += 1

    @contextlib.contextmanager
    def _mortal(self) -> Iterator[None]:
        """A fault may kill the worker that meets it."""
        with contextlib.suppress(Died):
            yield
