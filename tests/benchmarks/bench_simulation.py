"""The simulation against a measured run, and what it says of fleets that no machine of ours can hold (docs/scale.md).

Measured: one Celery worker with a few threads, a vendor that takes its time, bookings at random instants. From those instants, and
from the costs of single bookings measured just before and just after, the simulator predicts the latencies of the loaded run.
WATERTIGHT_SIMULATED_BOOKINGS (150) for each load.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from celery import signals
from sqlalchemy import text

from providers.memory import MemoryCalendar
from sync.domain import Interval
from sync.intake import Request, receive
from tests.benchmarks.bench_scale import Bench, bench, valkey  # noqa: F401 - fixtures
from tests.benchmarks.conftest import Report
from tests.benchmarks.figures import Figure
from tests.benchmarks.fleet import Meter, Spent, working
from tests.benchmarks.simulated_fleet import Cell, Cost, FleetModel, Load
from tests.benchmarks.simulation import mean, percentile
from workers.app import app

BOOKINGS = int(os.environ.get("WATERTIGHT_SIMULATED_BOOKINGS", "150"))
WARM_UP = 5
ALONE = 20  # bookings, and reads, one after the other
THREADS = 4
LATENCY = 0.2  # seconds that the vendor takes for a call
LOADS = (0.4, 0.7)  # of what the threads can do
REPEATS = 40  # simulations of the same instants, whose durations vary
GOAL = 0.25
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)
MINUTE = 60.0
# For each agent: one percent change something in a minute, each a decision and two copies; 1.1 reads (bench_scale.py).
PER_AGENT = {"decisions": 3 * 0.01 / MINUTE, "reads": 1.1 / MINUTE}
VENDOR_SECONDS = 0.2
CELLS = {  # agents, and what stands there; the vendors' quota is calls a second
    "1,000 agents": (1_000, Cell(cores=1, job_threads=24, commit_processes=2, database_cores=1, quota=100)),
    "10,000 agents": (10_000, Cell(cores=8, job_threads=120, commit_processes=12, database_cores=2, quota=1000)),
    "40,000 agents": (40_000, Cell(cores=32, job_threads=480, commit_processes=48, database_cores=4, quota=2000)),
    "10,000 agents, quota of 150/s": (
        10_000,
        Cell(cores=8, job_threads=120, commit_processes=12, database_cores=2, quota=150),
    ),
}


class SlowCalendar(MemoryCalendar):
    """One whose vendor takes its time."""

    def _called(self, method: str) -> None:
        time.sleep(LATENCY)
        super()._called(method)


@dataclass
class Ends:
    """When each task ended, by what it was about."""

    at: dict[object, float] = field(default_factory=dict)

    def __enter__(self) -> Self:
        signals.task_postrun.connect(self._ended, weak=False)
        return self

    def __exit__(self, *_: object) -> None:
        signals.task_postrun.disconnect(self._ended)

    def _ended(self, *, args: Sequence[object] = (), **_: object) -> None:
        self.at[args[0] if args else None] = time.perf_counter()

    def wait(self, references: Sequence[object], *, seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not all(reference in self.at for reference in references):
            assert time.monotonic() < deadline, "the worker did not get through"
            time.sleep(0.005)


@dataclass(frozen=True)
class Alone:
    """What a task costs when nothing else runs, and how long it takes (seconds)."""

    cost: Cost
    wall: float

    def and_then(self, later: Alone) -> Alone:
        """The middle of two measurements: of one before and one after what happened in between, on a machine that is shared."""
        mine, other = self.cost, later.cost
        middle = Cost(
            (mine.cpu + other.cpu) / 2,
            (mine.database + other.database) / 2,
            mine.calls,
            (mine.latency + other.latency) / 2,
        )
        return Alone(middle, (self.wall + later.wall) / 2)


def test_the_simulation_against_a_measured_run(bench: Bench, report: Report) -> None:  # noqa: F811 - the fixture
    fleet, meter = bench.fleet, bench.meter
    fleet.seed(ALONE, public_url="https://watertight.example")
    with fleet.owner.begin() as connection:
        connection.execute(text("DELETE FROM channels"))
        connection.execute(
            text("DELETE FROM cursors WHERE calendar_id IN (SELECT id FROM calendars WHERE role <> 'master')")
        )
        connection.execute(text("DELETE FROM calendars WHERE role <> 'master'"))
    for remote in fleet.ids:
        fleet.vendor.use(SlowCalendar(remote))
    masters = [number for remote, number in fleet.ids.items() if remote.startswith("outlook")]
    asked = iter([ask(bench, number) for number in range(WARM_UP + (2 * ALONE + BOOKINGS) * len(LOADS))])

    def take(number: int) -> list[str]:
        return list(itertools.islice(asked, number))

    with working(THREADS), Ends() as ends:
        one_by_one(ends, meter, "Commit", take(WARM_UP))  # connections are made, and caches filled
        read = one_by_one(ends, meter, "NewAppointmentSync.calendar", masters)
        commit = read
        for load in LOADS:
            before = one_by_one(ends, meter, "Commit", take(ALONE))
            rate = load * THREADS / before.wall
            instants = at_random(rate)
            measured = at_these(ends, take(BOOKINGS), instants)
            commit = before.and_then(one_by_one(ends, meter, "Commit", take(ALONE)))
            compare(measured, predict(commit, instants), load=load, report=report)
    assert set(decided(bench)) == {"accepted"}
    tell(commit, read, report)


def ask(one: Bench, number: int) -> str:
    start = START + timedelta(hours=number // ALONE)
    interval = Interval(start, start + timedelta(minutes=30))
    return f"proposal:{receive(one.fleet.sessions, Request(f'{number}', f'agent-{number % ALONE + 1}', interval)).id}"


def decided(one: Bench) -> list[str]:
    with one.fleet.owner.connect() as connection:
        return list(connection.scalars(text("SELECT reason FROM decisions")))


def one_by_one(ends: Ends, meter: Meter, task: str, references: Sequence[object]) -> Alone:
    """The wall time that neither computing nor the vendor explains (broker, sockets) counts with the vendor's."""
    meter.spent, walls = Spent(), []
    with meter.running():
        for reference in references:
            began = time.perf_counter()
            app.send_task(task, args=[reference])
            ends.wait([reference])
            walls.append(ends.at[reference] - began)
    spent, number = meter.spent, len(references)
    calls = round(spent.vendor_calls / number)
    cpu, database, wall = spent.cpu["python"] / number, spent.cpu["postgres"] / number, percentile(walls, 0.5)
    rest = max(LATENCY, (wall - cpu - database) / calls)
    return Alone(Cost(cpu, database, calls, rest), wall)


def at_random(rate: float) -> list[float]:
    """When bookings are asked for, in seconds from now."""
    rand = random.Random(11)  # noqa: S311 - the same every time
    return list(itertools.accumulate(rand.expovariate(rate) for _ in range(BOOKINGS)))


def at_these(ends: Ends, references: Sequence[str], instants: Sequence[float]) -> list[float]:
    """Seconds from each message to the end of its task."""
    sent, began = dict[str, float](), time.perf_counter()
    for reference, instant in zip(references, instants, strict=True):
        time.sleep(max(0.0, began + instant - time.perf_counter()))
        sent[reference] = time.perf_counter()
        app.send_task("Commit", args=[reference])
    ends.wait(references)
    return [ends.at[reference] - sent[reference] for reference in references]


def predict(alone: Alone, instants: Sequence[float]) -> list[float]:
    """One process computes at a time, on one core: threads of Python."""
    cell = Cell(cores=1, job_threads=1, commit_processes=THREADS, database_cores=1, quota=1e9)
    load = Load(agents=1, decisions=0.0, reads=0.0)
    rand = random.Random(1)  # noqa: S311 - the same every time
    models = [FleetModel(cell, load, commit=alone.cost, read=alone.cost, rand=rand) for _ in range(REPEATS)]
    return [latency for model in models for latency in model.follow(instants).decided]


def compare(measured: Sequence[float], predicted: Sequence[float], *, load: float, report: Report) -> None:
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        value, floor = percentile(predicted, share), percentile(measured, share)
        off = value / floor - 1
        what = f"predicted {name} of a booking at {load:.0%} load, {off:+.0%}"
        report(Figure("simulation", what, value * 1000, "ms", floor=floor * 1000, floor_is="measured", goal=f"± {GOAL:.0%}", met=abs(off) <= GOAL, details={"mean": mean(measured)}))  # fmt: skip


def tell(commit: Alone, read: Alone, report: Report) -> None:
    """The costs that were put in, and what comes out for larger fleets."""
    for name, alone in (("booking", commit), ("read that finds nothing", read)):
        cost = alone.cost
        details = {"cpu": cost.cpu, "database": cost.database, "calls": cost.calls, "wall": alone.wall}
        report(
            Figure(
                "simulation",
                f"CPU of a worker for a {name}, {cost.calls} vendor calls",
                cost.cpu * 1000,
                "ms",
                details=details,
            )
        )
        report(Figure("simulation", f"CPU of PostgreSQL for a {name}", cost.database * 1000, "ms"))
    costs = [Cost(one.cost.cpu, one.cost.database, one.cost.calls, VENDOR_SECONDS) for one in (commit, read)]
    for name, (agents, cell) in CELLS.items():
        load = Load(agents=agents, **PER_AGENT)
        model = FleetModel(cell, load, commit=costs[0], read=costs[1], rand=random.Random(2))  # noqa: S311
        found = model.run(3 * MINUTE).summary()
        report(Figure("simulation", f"{name}: decision p99", found["decision p99"], "s", details=found))
        report(Figure("simulation", f"{name}: push to read p99", found["push p99"], "s"))
        report(Figure("simulation", f"{name}: cores busy, of {cell.cores}", found["cores busy"] * 100, "%"))
