"""The state machine: everything that may happen to a few agents' calendars, in any order, at any moment.

Numbers that pick something count modulo how many there are, so that a shorter example still means the same.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from sync.domain import Interval, Job
from sync.errors import Malformed
from sync.intake import Request
from tests.property.people import NUMBERS, PICKS, Deed, anything
from tests.property.surroundings import JOBS, Surroundings
from tests.property.world import GRID_MINUTES, LEASE_SECONDS

CROSSINGS = st.integers(1, 12)
SLEEPS = st.sampled_from([1, 3, 4, 5, 6, 7, 8, 9, 9, 9, 10, 11])  # the ninth of a booking: verified, not yet settled
ORDERS = st.permutations(list(Job))
WHEN = st.sampled_from(["before", "after"])
STEPS_BETWEEN_RESTS = 20


class Watertight(Surroundings):
    """Our processes, and the judges: invariants after every step, convergence now and then, and always at the end."""

    # A nudge that is lost is a reference that no rule picks.

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

    @rule(pick=st.integers(0, 40), what=st.sampled_from(["reference", "reference", "wish", "other wish"]))
    def something_old_is_delivered_again(self, pick: int, what: str) -> None:
        references = self.world.all_references()
        if what == "reference" and references:
            with self._mortal():
                self.world.commit(references[pick % len(references)])
        elif what != "reference" and self.world.requests:
            request = self.world.requests[pick % len(self.world.requests)]
            self._ask_again(request, changed=what == "other wish")
        self._count("old things again")

    def _ask_again(self, request: Request, *, changed: bool) -> None:
        if changed:
            with pytest.raises(Malformed):
                self.world.ask(replace(request, title=f"{request.title} changed"))
        else:
            assert not self.world.ask(request).created

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

    @rule(
        pick=PICKS,
        crossing=SLEEPS,
        meanwhile=st.lists(anything, max_size=2),
        look=st.booleans(),
        times=st.integers(0, 2),
    )
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

    @rule(pick=PICKS, later=st.integers(-1, 1), method=st.sampled_from(["create", "update"]), when=WHEN)
    def somebody_is_quicker(self, pick: int, later: int, method: str, when: str) -> None:
        """A person takes the time on the master that a wish is about to get, just before or just after our own write."""
        if wishes := self.world.open_wishes():
            reference, master, wanted = wishes[pick % len(wishes)]
            quarter = later * timedelta(minutes=GRID_MINUTES)
            theirs = Interval(wanted.start + quarter, wanted.end + quarter)
            master.on(method, lambda: master.put(theirs, "Quicker"), after=when)
            with self._mortal():
                self.world.commit(reference)
        self._count("quicker")

    @rule(agent=st.integers(0, 1), order=ORDERS)
    def a_minute_goes_by(self, agent: int, order: list[Job]) -> None:
        """What the schedule does for one agent: every job for every calendar, then whatever is due."""
        for number, name in enumerate(self.world.ids):
            if name.startswith(list(self.world.agents)[agent]):
                for job in order:
                    with self._mortal():
                        self.world.detect(job, self.world.calendar(number))
        self.world.stage.jump(60)
        for reference in self.world.open_references():
            with self._mortal():
                self.world.commit(reference)
        self._count("minute")

    @precondition(lambda self: self.since_rest >= STEPS_BETWEEN_RESTS)
    @rule()
    def everybody_rests(self) -> None:
        self._rest()
        self._count("rest")

    # The judges

    @precondition(lambda self: bool(self.world.ids))
    @invariant()
    def the_promises_hold(self) -> None:
        with self.world.stage.announcing():
            self.promises.check_step()

    def teardown(self) -> None:
        if sys.exc_info()[0] is None and self.world.ids:
            self._rest()
            with self.world.stage.announcing():
                self.world.look_again()
                self.promises.check_step()
            self.world.tally()
        self.world.stage.counts["examples"] += 1

    def _rest(self) -> None:
        self.since_rest = 0
        with self.world.stage.announcing():
            self.world.quiesce()
            self.promises.check_quiet()
