"""A fleet of agents as the simulator sees it: beat, the queue, threads of workers, the database, and the vendors' quotas.

Unit costs are measured (``make bench``), the rest follows. One run is a *cell*: a broker, a database, its workers. More agents
than a cell can hold are more cells; what cells share is the vendors' quota alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.benchmarks.simulation import Process, Quota, Resource, Simulator, arrivals, percentile, uneven

SPREAD = 0.3
PERIOD = 60.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a task needs: seconds of a worker's core, of a core of the database, and calls of ``latency`` seconds."""

    cpu: float
    database: float
    calls: int
    latency: float


@dataclass(frozen=True, slots=True)
class Load:
    """What happens in a fleet: decisions and pushes for each agent and second, and runs of jobs that find nothing."""

    agents: int
    decisions: float
    reads: float
    poll_share: float = 0.8  # of reads: by beat, at its slots; the others are pushed, at any moment


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands there. ``quota`` is calls a second that the vendors allow."""

    cores: int
    job_threads: int
    commit_processes: int
    database_cores: int
    quota: float


@dataclass
class Outcome:
    """Latencies in seconds, from the wish or the slot to the end of the task; and how busy everything was."""

    decided: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    pushed: list[float] = field(default_factory=list)
    utilisation: dict[str, float] = field(default_factory=dict)
    calls: float = 0.0

    def summary(self) -> dict[str, float]:
        kinds = {"decision": self.decided, "poll": self.read, "push": self.pushed}
        found = {
            f"{kind} p{round(share * 100)}": percentile(values, share)
            for kind, values in kinds.items()
            for share in (0.5, 0.99)
        }
        return (
            found | {f"{name} busy": share for name, share in self.utilisation.items()} | {"vendor calls/s": self.calls}
        )


class FleetModel:
    """One cell under a load."""

    def __init__(self, cell: Cell, load: Load, *, commit: Cost, read: Cost, rand: random.Random) -> None:
        self.simulator = Simulator()
        self.load, self.commit_cost, self.read_cost, self.rand = load, commit, read, rand
        self.outcome = Outcome()
        made = {
            "cores": cell.cores,
            "jobs": cell.job_threads,
            "commits": cell.commit_processes,
            "database": cell.database_cores,
        }
        self.resources = {name: Resource(self.simulator, servers) for name, servers in made.items()}
        self.quota = Quota(self.simulator, cell.quota)

    def run(self, seconds: float) -> Outcome:
        """So many seconds of the fleet's life, and until what began then is done."""
        load, simulator = self.load, self.simulator
        decisions, pushes = load.agents * load.decisions, load.agents * load.reads * (1 - load.poll_share)
        for rate, make in ((decisions, self._decision), (pushes, self._push)):
            if rate > 0:
                simulator.start(arrivals(simulator, make, rate=rate, seconds=seconds, rand=self.rand))
        simulator.start(self._beat(seconds))
        return self._until_done()

    def follow(self, instants: Sequence[float]) -> Outcome:
        """Decisions that are asked for at these seconds, and nothing else: what a measured run was given."""
        for instant in instants:
            self.simulator.start(self._decision(), after=instant)
        return self._until_done()

    def _until_done(self) -> Outcome:
        self.simulator.run()
        self.outcome.utilisation = {name: resource.utilisation() for name, resource in self.resources.items()}
        self.outcome.calls = self.quota.calls / self.simulator.now
        return self.outcome

    def _beat(self, seconds: float) -> Process:
        """A slot sends its polls over half of the period, as the fan-out does."""
        while self.simulator.now < seconds:
            polls = round(self.load.agents * self.load.reads * self.load.poll_share * PERIOD)
            for number in range(polls):
                self.simulator.start(
                    self._task(self.read_cost, "jobs", self.outcome.read), after=PERIOD / 2 * number / polls
                )
            yield PERIOD

    def _decision(self) -> Process:
        return self._task(self.commit_cost, "commits", self.outcome.decided)

    def _push(self) -> Process:
        return self._task(self.read_cost, "jobs", self.outcome.pushed)

    def _task(self, cost: Cost, workers: str, taken: list[float]) -> Process:
        """A worker is held from the first step to the last, as Celery's are; a core only while it computes."""
        began = self.simulator.now
        yield self.resources[workers]
        steps = cost.calls + 1
        for step in range(steps):
            for name, total in (("cores", cost.cpu), ("database", cost.database)):
                yield self.resources[name]
                yield uneven(total / steps, self.rand, spread=SPREAD)
                self.resources[name].release()
            if step < cost.calls:
                yield self.quota.wait()
                yield uneven(cost.latency, self.rand, spread=SPREAD)
        self.resources[workers].release()
        taken.append(self.simulator.now - began)
