"""What a decision costs beside its floor: the bare insert that PostgreSQL needs for it, measured in the same run.

Figures are ratios, since machines differ and are noisy: both sides run in turns, and the medians are compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import text

from models.session import Sessions, transaction
from sync.domain import Interval, ProposalId
from tests.benchmarks.conftest import Report
from tests.benchmarks.figures import Figure
from tests.integration.world import World

ROUNDS = 5
PER_ROUND = 100
NAMED = "SELECT set_config('watertight.cause', 'floor', true), set_config('watertight.actor', 'bench', true)"
START = datetime(2030, 1, 1, tzinfo=UTC)


def test_commit_throughput(app_sessions: Sessions, commit_sessions: Sessions, report: Report) -> None:
    """Bookings a second, decided and settled by one engine against a calendar in memory, over bare inserts a second."""
    world = World(app_sessions, commit_sessions)
    world.add_agent("dana", mirrors=0)
    world.add_agent("floor", mirrors=0)
    decided, floor = [], []
    for round_number in range(ROUNDS):
        floor.append(_rate(partial(_insert_slots, commit_sessions, round_number)))
        proposals = [world.ask(_hour(round_number * PER_ROUND + number)) for number in range(PER_ROUND)]
        decided.append(_rate(partial(_decide, world, proposals)))
    assert len(world.booked()) == ROUNDS * PER_ROUND
    report(
        Figure(
            "commit",
            "decided and settled by one engine, calendar in memory",
            statistics.median(decided),
            "1/s",
            floor=statistics.median(floor),
            floor_is="insert under the exclusion constraint",
        )
    )


def _hour(number: int) -> Interval:
    start = START + timedelta(hours=number)
    return Interval(start, start + timedelta(hours=1))


def _rate(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return PER_ROUND / (time.perf_counter() - started)


def _decide(world: World, proposals: list[ProposalId]) -> None:
    for proposal in proposals:
        world.decide(proposal)


def _insert_slots(sessions: Sessions, round_number: int) -> None:
    """The floor: one transaction with one insert under the exclusion constraint for each booking."""
    for number in range(PER_ROUND):
        hour = _hour(round_number * PER_ROUND + number)
        with transaction(sessions) as session:
            session.execute(text(NAMED))
            session.execute(
                text(
                    "INSERT INTO slots (agent_id, during, state) "
                    "SELECT id, tstzrange(:start, :end), 'booked' FROM agents WHERE slug = 'floor'"
                ),
                {"start": hour.start, "end": hour.end},
            )
