"""What happens around our own processes, at any moment: wishes, people, vendors, time.

Numbers that pick something count modulo how many there are, so that a shorter example still means the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from sync.domain import Interval, Job, Kind
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
from tests.property.world import TITLES, AgentPlan, Died, World, at, unreadable

AGENTS = st.integers(0, 1)
JOBS = st.sampled_from(list(Job))
VERSIONS = st.sampled_from(["any", "any", "any", "current", "zero", "never"])
BUFFERS = st.sampled_from([(0, 0), (15, 0), (15, 30), (0, 15)])
MIRROR = st.tuples(st.sampled_from(["mark", "mark", "leave", "delete"]), st.sampled_from(["title", "title", "busy"]))
JUMPS = (1, 5, 40, 400, 26 * 3600, -1, -20, -40, -1800, -4 * 3600)
LAST_JUMP_SECONDS = 5 * 24 * 3600  # the day on which everything happens must stay in the future
HANDS = ("create", "update", "delete", "read_window", "find_event", "read_changes")


class Surroundings(RuleBasedStateMachine):
    """What happens around our processes: wishes, people, vendors, time."""

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

    # Wishes by API

    @rule(agent=AGENTS, start=STARTS, length=LENGTHS, title=st.integers(0, 2), version=VERSIONS)
    def ask(self, agent: int, start: int, length: int, title: int, version: str) -> None:
        slug = list(self.world.agents)[agent]
        seen = self._seen(version, slug, at(start, length))
        self.world.wish(agent=slug, interval=at(start, length), title=TITLES[title], slot_version=seen)
        self._count("ask")

    @rule(agent=AGENTS, start=STARTS, length=LENGTHS, seconds=st.sampled_from([30, 300, 3600]), version=VERSIONS)
    def ask_for_a_hold(self, agent: int, start: int, length: int, seconds: int, version: str) -> None:
        slug = list(self.world.agents)[agent]
        seen = self._seen(version, slug, at(start, length))
        self.world.wish(kind=Kind.HOLD, agent=slug, interval=at(start, length), hold_seconds=seconds, slot_version=seen)
        self._count("hold")

    @rule(pick=PICKS, what=st.sampled_from(["book", "book", "book elsewhere", "release"]), start=STARTS)
    def use_a_hold(self, pick: int, what: str, start: int) -> None:
        if self.world.holds:
            hold = self.world.holds[pick % len(self.world.holds)]
            if what == "release":
                self.world.wish(kind=Kind.CANCEL, hold=hold.hold)
            else:
                interval = hold.interval if what == "book" else at(start)
                self.world.wish(agent=hold.agent, interval=interval, title=TITLES[0], hold=hold.hold)
        self._count(f"hold: {what}")

    @rule(pick=PICKS, start=STARTS, length=LENGTHS, agent=AGENTS, what=st.sampled_from(["move", "cancel", "hand over"]))
    def change_an_appointment(self, pick: int, start: int, length: int, agent: int, what: str) -> None:
        rows = self.world.stage.rows("SELECT id FROM appointments ORDER BY id DESC LIMIT 8")
        if rows:
            wish: dict[str, object] = {"appointment": rows[pick % len(rows)][0], "kind": Kind.CANCEL}
            if what != "cancel":
                wish |= {"kind": Kind.MOVE, "interval": at(start, length), "title": TITLES[0]}
            if what == "hand over":
                wish["agent"] = list(self.world.agents)[agent]
            self.world.wish(**wish)
        self._count(f"api: {what}")

    def _seen(self, version: str, slug: str, interval: Interval) -> int | None:
        if version != "current":
            return {"any": None, "zero": 0, "never": NEVER_A_VERSION}[version]
        rows = self.world.stage.rows(
            "SELECT version FROM slots WHERE agent_id = %(agent)s AND during = tstzrange(%(start)s, %(end)s)"
            " ORDER BY version DESC LIMIT 1",
            agent=self.world.agents[slug],
            start=interval.start,
            end=interval.end,
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
        calendar.on(
            method, lambda: deed.do(calendar), after=when if method in {"create", "update", "delete"} else "before"
        )
        self._count("meddle")

    def _do(self, deed: Deed) -> None:
        deed.do(self.world.calendar(deed.calendar))
        self._count(f"person: {deed.what}")

    # Vendors

    @rule(number=NUMBERS, fault=st.sampled_from(FAULTS))
    def vendor_will_fail(self, number: int, fault: Fault) -> None:
        self.world.calendar(number).fail(fault.method, fault.error(), after=fault.when)
        self._count("fault")

    @rule(number=NUMBERS, what=st.sampled_from(["expired cursors", "odd record", "feed from the beginning"]), job=JOBS)
    def feed_is_odd(self, number: int, what: str, job: Job) -> None:
        calendar = self.world.calendar(number)
        match what:
            case "expired cursors":
                calendar.expire()
            case "odd record":
                calendar.unparsed = [] if calendar.unparsed else [unreadable(calendar.name)]
            case _:
                self.world.rewind(job, calendar)
        self._count(what)

    # Time

    @rule(seconds=st.sampled_from(JUMPS))
    def clock_jumps(self, seconds: int) -> None:
        if (self.world.stage.now() - EPOCH).total_seconds() + seconds < LAST_JUMP_SECONDS:
            self.world.stage.jump(seconds)
        self._count("jump")

    def _count(self, what: str) -> None:
        self.since_rest += 1
        self.world.stage.counts[what] += 1
        self.world.stage.counts["steps"] += 1

    @contextlib.contextmanager
    def _mortal(self) -> Iterator[None]:
        """A fault may kill the worker that meets it."""
        with contextlib.suppress(Died):
            yield
