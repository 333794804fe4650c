"""The commit path: throughput, latency, a race, pools. Real workers, broker and database, Outlook's emulator over HTTP.

``WATERTIGHT_DECISIONS`` for more or fewer decisions per figure (200).
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from sync.commit.engine import CommitEngine
from sync.domain import ProposalId
from tests.benchmarks.conftest import Report
from tests.benchmarks.figures import Figure
from tests.benchmarks.plant import Plant, Team, fresh_database, hour, outlook, running, url_of
from tests.benchmarks.tape import Call, Cost, End, Statement, Tape, play, take_down
from workers.embedded import EmbeddedPostgres
from workers.wiring import build_committing

DECISIONS = int(os.environ.get("WATERTIGHT_DECISIONS", "200"))
ROUNDS = 3
RIVALS = 1_000
CALLS = 3  # of a booking: check, write, verify
GOAL_SHARE, GOAL_LATENCY = 0.7, 1.2
LATENCIES = (0.05, 0.2)  # seconds of the vendor
LATENESS = (
    "SELECT extract(epoch FROM decided_at - created_at) FROM proposals WHERE id = ANY(:ids) AND decided_at IS NOT NULL"
)


@pytest.fixture(scope="module")
def plant(postgres: EmbeddedPostgres) -> Iterator[Plant]:
    with running(postgres) as plant:
        yield plant


def test_throughput(plant: Plant, postgres: EmbeddedPostgres, report: Report) -> None:
    """Settled bookings a second through one worker process, beside a no-op task there, and the bare calls and statements."""
    with _taken_down(plant, postgres) as (tape, bare), plant.team() as team:
        noops = _timed(team, lambda: plant.send_noops(DECISIONS * 5), plant.await_idle)
        turns = [(_booked(plant, team), bare()) for _ in range(ROUNDS)]
    settled, least = (min(costs, key=lambda cost: cost.seconds) for costs in zip(*turns, strict=True))
    per = {"calls": tape.count(Call), "statements": tape.count(Statement), "transactions": tape.count(End)}
    details: dict[str, object] = {name: count / DECISIONS for name, count in per.items()}
    details |= {"turns_s": [(ours.seconds, floor.seconds) for ours, floor in turns]}
    report(Figure("commit", "no-op task, one process", DECISIONS * 5 / noops.seconds, "1/s"))
    rate, floor = DECISIONS / settled.seconds, DECISIONS / least.seconds
    goal, name = f"≥ {GOAL_SHARE:.0%}", "the same calls and SQL, bare"
    report(
        Figure(
            "commit",
            "settled bookings, one process",
            rate,
            "1/s",
            floor,
            name,
            goal,
            rate >= GOAL_SHARE * floor,
            details,
        )
    )
    cpu, floor = (min(cost.cpu_seconds for cost in costs) / DECISIONS * 1000 for costs in zip(*turns, strict=True))
    goal = f"≤ {1 / GOAL_SHARE:.2f} times"
    report(Figure("commit", "CPU of the worker for one", cpu, "ms", floor, name, goal, cpu <= floor / GOAL_SHARE))


@contextmanager
def _taken_down(plant: Plant, postgres: EmbeddedPostgres) -> Iterator[tuple[Tape, Callable[[], Cost]]]:
    """The floor: one set of decisions taken down, to be played against copies of everything, once for each round."""
    proposals = plant.ask(DECISIONS)
    plant.owner.dispose()
    plant.app.kw["bind"].dispose()
    with ExitStack() as stack:
        names = [f"bench_bare_{number}" for number in range(ROUNDS)]
        copies = [stack.enter_context(fresh_database(postgres, name, template=plant.database)) for name in names]
        committing = build_committing(plant.settings)
        engine = CommitEngine(committing.sessions, committing.calendars, rand=random.random)
        tape = take_down(engine, committing.sessions.kw["bind"], proposals)
        committing.sessions.kw["bind"].dispose()

        def bare() -> Cost:
            database = url_of(postgres, "watertight_commit", copies.pop()).replace("+psycopg", "")
            with outlook() as other:
                return play(tape, database=database, old=plant.emulator, new=other)

        yield tape, bare


def _timed(team: Team, work: Callable[[], object], done: Callable[[], object]) -> Cost:
    """From the first message until everything is done."""
    started, used = time.perf_counter(), team.cpu()
    work()
    done()
    return Cost(time.perf_counter() - started, team.cpu() - used)


def _booked(plant: Plant, team: Team) -> Cost:
    proposals = plant.ask(DECISIONS)
    cost = _timed(team, lambda: plant.send(proposals), plant.await_decided)
    assert _accepted(plant, proposals) == DECISIONS
    return cost


def _accepted(plant: Plant, proposals: list[ProposalId]) -> int:
    count = "SELECT count(*) FROM decisions WHERE accepted AND proposal_id = ANY(:ids)"
    return int(plant.sql(count, ids=list(proposals))[0][0])


def test_latency(plant: Plant, report: Report) -> None:
    """From a stored wish to its decision: alone, at half load, and with a vendor that takes its time."""
    with plant.team() as team:
        rate = DECISIONS / _booked(plant, team).seconds
        _report_latency(report, "unloaded", _one_by_one(plant, DECISIONS // 2))
        _report_latency(report, "at 50 % load", _arriving(plant, rate / 2, DECISIONS))
        for seconds in LATENCIES:
            plant.slow(seconds)
            _report_latency(
                report, f"vendor takes {seconds * 1000:.0f} ms", _one_by_one(plant, 30), floor=CALLS * seconds
            )
        plant.slow(0)


def _one_by_one(plant: Plant, count: int) -> list[float]:
    ids: list[ProposalId] = []
    for _ in range(count):
        (proposal,) = plant.ask(1)
        plant.send([proposal])
        plant.await_decided()
        ids.append(proposal)
    return _lateness(plant, ids)


def _arriving(plant: Plant, rate: float, count: int) -> list[float]:
    """At random moments, so many a second on average."""
    rand = random.Random(1)  # noqa: S311 - the same every time
    ids: list[ProposalId] = []
    due = time.monotonic()
    for _ in range(count):
        due += rand.expovariate(rate)
        time.sleep(max(0.0, due - time.monotonic()))
        ids += plant.ask(1)
        plant.send(ids[-1:])
    plant.await_decided()
    return _lateness(plant, ids)


def _lateness(plant: Plant, ids: list[ProposalId]) -> list[float]:
    return sorted(float(row[0]) for row in plant.sql(LATENESS, ids=list(ids)))


def _report_latency(report: Report, what: str, seconds: list[float], *, floor: float | None = None) -> None:
    p50, p99 = statistics.median(seconds) * 1000, seconds[int(0.99 * (len(seconds) - 1))] * 1000
    least = floor * 1000 if floor else None
    goal, met = (f"≤ {GOAL_LATENCY} times", p50 <= GOAL_LATENCY * least) if least else ("", None)
    name = f"{CALLS} calls" if least else ""
    report(
        Figure(
            "commit", f"decided, {what}, p50", p50, "ms", least, name, goal, met, {"p99": p99, "count": len(seconds)}
        )
    )
    report(Figure("commit", f"decided, {what}, p99", p99, "ms", least, name))


def test_race(plant: Plant, report: Report) -> None:
    """A thousand wishes for one hour of one agent, decided by four processes."""
    before = plant.deadlocks()
    with plant.team(concurrency=4) as team:
        rivals = plant.ask(RIVALS, hours=[hour(900_000)] * RIVALS)
        cost = _timed(team, lambda: plant.send(rivals), plant.await_decided)
    assert _accepted(plant, rivals) == 1
    deadlocks = plant.deadlocks() - before
    report(Figure("commit", f"{RIVALS} on one slot: the last one knows", cost.seconds, "s"))
    report(Figure("commit", "deadlocks in it", deadlocks, "", goal="0", met=deadlocks == 0))


@pytest.mark.parametrize("vendor_seconds", [0.0, 0.05])
@pytest.mark.parametrize("concurrency", [1, 2, 4])
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_pools(plant: Plant, report: Report, pool: str, concurrency: int, vendor_seconds: float) -> None:
    """Settled bookings a second by pool and its size."""
    if pool == "gevent":
        pytest.importorskip("gevent")
    with plant.team(pool=pool, concurrency=concurrency) as team:
        plant.slow(vendor_seconds)
        proposals = plant.ask(DECISIONS // 2)
        cost = _timed(team, lambda: plant.send(proposals), plant.await_decided)
        plant.slow(0)
    what = f"{pool}, {concurrency}, vendor {vendor_seconds * 1000:.0f} ms"
    report(
        Figure(
            "pools",
            what,
            len(proposals) / cost.seconds,
            "1/s",
            details={"cpu_ms": cost.cpu_seconds / len(proposals) * 1000},
        )
    )
