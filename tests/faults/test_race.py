"""Eight real commit workers and more wishes than there is time: who is booked, who is told no, and how soon (P1, P4).

``WATERTIGHT_TEST_FULL=1`` (``make race``) runs the full sizes. That several beats publish each slot once is shown by
``tests/integration/test_scheduler.py``; a nudge twice is harmless here, as every proposal is published twice.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from providers.emulation import Fault
from sync.domain import Interval
from tests.faults.cell import Cell, add_cell
from tests.faults.feed import DAY
from tests.faults.figures import FULL, record
from tests.faults.operations import TEN
from tests.faults.rig import Rig, Worker, until
from workers.embedded import EmbeddedPostgres

WORKERS = 8
ON_ONE_SLOT = 1000 if FULL else 60
ON_MANY, AGENTS = (5000, 20) if FULL else (100, 4)
PATIENCE_SECONDS = 1200.0 if FULL else 90.0
NEVER_SAID = ("", None)

DECISIONS = (
    "SELECT p.id, d.accepted, d.reason, d.evidence, extract(epoch FROM d.decided_at - :began)::float"
    " FROM proposals p LEFT JOIN decisions d ON d.proposal_id = p.id WHERE p.agent_id = ANY(:agents) ORDER BY p.id"
)
OPEN = (
    "SELECT (SELECT count(*) FROM proposals WHERE agent_id = ANY(:agents) AND state NOT IN ('settled', 'refused'))"
    " + (SELECT count(*) FROM writes WHERE agent_id = ANY(:agents) AND state = 'due')"
)

pytestmark = pytest.mark.timeout(PATIENCE_SECONDS + 300)


@pytest.fixture
def deadlocks(postgres: EmbeddedPostgres) -> Callable[[], int]:
    """How many the server has logged since the test began."""
    before = postgres._log.stat().st_size
    return lambda: postgres._log.read_bytes()[before:].count(b"deadlock detected")


def test_of_many_wishes_for_one_slot_one_is_booked(rig: Rig, deadlocks: Callable[[], int]) -> None:
    cell = add_cell(rig)
    wishes = [cell.ask(TEN) for _ in range(ON_ONE_SLOT)]
    # Together fewer than a commit has attempts: what is tested is who gets the time, not when somebody gives up.
    arm(rig, per_kind=1)
    figures = race(rig, [cell], wishes)
    assert figures["accepted"] == 1
    assert set(figures["reasons"]) == {"accepted", "slot_taken"}
    assert [feed.busy() for feed in cell.feeds] == [[TEN], [TEN]]
    assert deadlocks() == 0
    record("race for one slot", workers=WORKERS, proposals=ON_ONE_SLOT, **figures)


def test_of_overlapping_wishes_for_many_agents_no_two_are_booked(rig: Rig, deadlocks: Callable[[], int]) -> None:
    rand = random.Random(20261122)  # noqa: S311 - the same wishes in every run
    cells = [add_cell(rig) for _ in range(AGENTS)]
    wishes = [rand.choice(cells).ask(somewhere(rand)) for _ in range(ON_MANY)]
    arm(rig, per_kind=2 * AGENTS)
    figures = race(rig, cells, wishes)
    assert figures["accepted"] >= 5 * AGENTS
    assert set(figures["reasons"]) <= {"accepted", "slot_taken", "master_busy", "master_unreadable"}
    assert deadlocks() == 0
    record("race for many agents", workers=WORKERS, proposals=ON_MANY, agents=AGENTS, **figures)


def somewhere(rand: random.Random) -> Interval:
    start = DAY.start + timedelta(minutes=15 * rand.randrange(90))
    return Interval(start, start + timedelta(minutes=rand.choice((30, 45, 60, 90))))


def arm(rig: Rig, *, per_kind: int) -> None:
    """Refusals, failures, and writes that failed only by their answer."""
    for emulator in (rig.outlook, rig.google):
        emulator.faults.arm(Fault(kind="rate_limited", times=per_kind, seconds=1, match="/events"))
        emulator.faults.arm(Fault(kind="server_error", times=per_kind))
        emulator.faults.arm(Fault(kind="commit_then_error", times=per_kind, match="POST"))


def race(rig: Rig, cells: Sequence[Cell], wishes: Sequence[str]) -> dict[str, Any]:
    """Let eight workers decide every wish, each published twice; what came of it."""
    agents = [number for cell in cells for number in cell.agents]
    workers = [*(rig.workers.start(queues=["commit"]) for _ in range(WORKERS)), rig.workers.start(queues=["upkeep"])]
    ready(workers)
    [(began,)] = rig.sql("SELECT clock_timestamp()")
    rig.publish([("Commit", (wish,)) for wish in wishes])
    rig.publish([("Commit", (wish,)) for wish in wishes])
    while rig.sql(OPEN, agents=agents) != [(0,)]:
        rig.drain(beat=[("ResumeCommits", ())], seconds=PATIENCE_SECONDS)
        rig.publish([("ResumeCommits", ())])
    rig.drain()
    for worker in workers:
        worker.end()
    assert [one for emulator in (rig.outlook, rig.google) for one in emulator.faults.armed()] == []
    for cell in cells:
        assert_fair(cell)
    return summed_up(rig.sql(DECISIONS, began=began, agents=agents), expected=len(wishes))


def ready(workers: Sequence[Worker]) -> None:
    """Else the first to start would have decided everything before the last is there."""
    until(lambda: all("ready." in worker.log.read_text() for worker in workers), "every worker ready")


def assert_fair(cell: Cell) -> None:
    """Nothing twice at a time, neither in the ledger nor on a calendar, and nothing left to do."""
    for feed in cell.feeds:
        busy = feed.busy()
        assert not [pair for pair in pairwise(busy) if pair[0].overlaps(pair[1])]
    assert {what: number for what, number in cell.leftovers().items() if number} == {}
    assert cell.drift() == ()


def summed_up(rows: Sequence[tuple[int, bool, str, dict[str, Any], float]], *, expected: int) -> dict[str, Any]:
    """One decision for every proposal, and for every no a reason with its evidence."""
    assert len({number for number, *_ in rows}) == len(rows) == expected
    lost = [row for row in rows if not row[1]]
    assert [row for row in lost if row[2] in NEVER_SAID or not row[3]] == []
    last = max(seconds for *_, seconds in rows)
    return {
        "accepted": expected - len(lost),
        "reasons": dict(Counter(reason for _, _, reason, _, _ in rows)),
        "last_loser_knew_seconds": round(max(seconds for *_, seconds in lost), 2),
        "decided_per_second": round(expected / last, 1),
    }
