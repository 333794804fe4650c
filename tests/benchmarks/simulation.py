"""A small discrete-event simulator: processes that wait, and that take turns at resources. Time is in seconds, none of it real.

A process is a generator. It yields a number (wait so long) or a resource (wait until it is ours); what it took it gives back
with ``release``. Of those who want a resource the first is served first, as in a queue of the broker.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Union

Process = Generator[Union[float, "Resource"], None, None]


class Simulator:
    """Runs processes in the order of their instants; of two at one instant the first that was started."""

    def __init__(self) -> None:
        self.now = 0.0
        self._agenda: list[tuple[float, int, Process]] = []
        self._numbers = itertools.count()

    def start(self, process: Process, *, after: float = 0.0) -> None:
        heapq.heappush(self._agenda, (self.now + after, next(self._numbers), process))

    def run(self, until: float = math.inf) -> None:
        """Until nobody has anything to do, or the instant is reached."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, process = heapq.heappop(self._agenda)
            self._step(process)

    def _step(self, process: Process) -> None:
        wanted = next(process, None)
        if isinstance(wanted, Resource):
            wanted.take(process)
        elif wanted is not None:
            self.start(process, after=wanted)


@dataclass
class Resource:
    """So many (``servers``) can use it at once: threads of workers, cores, connections."""

    simulator: Simulator
    servers: int
    busy: int = 0
    busy_seconds: float = 0.0
    longest: int = 0
    _since: float = 0.0
    _waiting: deque[Process] = field(default_factory=deque)

    def take(self, process: Process) -> None:
        """Let the process go on when it has a server."""
        if self.busy < self.servers:
            self._count(+1)
            self.simulator.start(process)
        else:
            self._waiting.append(process)
            self.longest = max(self.longest, len(self._waiting))

    def release(self) -> None:
        """The next in the queue gets the server, if there is one."""
        if self._waiting:
            self.simulator.start(self._waiting.popleft())
        else:
            self._count(-1)

    def utilisation(self) -> float:
        """Share of the servers' time that was used so far."""
        self._count(0)
        return self.busy_seconds / (self.servers * self.simulator.now) if self.simulator.now else 0.0

    def _count(self, change: int) -> None:
        self.busy_seconds += self.busy * (self.simulator.now - self._since)
        self._since = self.simulator.now
        self.busy += change


@dataclass
class Quota:
    """A vendor's limit: one call every ``1 / rate`` seconds, and whoever comes too early waits for a turn."""

    simulator: Simulator
    rate: float
    calls: int = 0
    _next: float = 0.0

    def wait(self) -> float:
        """Seconds until this call may go out."""
        self.calls += 1
        turn = max(self.simulator.now, self._next)
        self._next = turn + 1 / self.rate
        return turn - self.simulator.now


def arrivals(
    simulator: Simulator, make: Callable[[], Process], *, rate: float, seconds: float, rand: random.Random
) -> Process:
    """Start a process of ``make`` at random instants, ``rate`` of them a second on average."""
    while simulator.now < seconds:
        yield rand.expovariate(rate)
        simulator.start(make())


def percentile(values: Sequence[float], share: float) -> float:
    """Of an empty list: 0."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def uneven(mean: float, rand: random.Random, *, spread: float) -> float:
    """A duration around ``mean``: log-normal, with ``spread`` as the standard deviation of its logarithm."""
    return mean * math.exp(rand.gauss(-spread * spread / 2, spread))


def mean(values: Iterable[float]) -> float:
    """Of nothing: 0."""
    found = list(values)
    return sum(found) / len(found) if found else 0.0
