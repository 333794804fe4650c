"""Half an hour of demo traffic and bad-day faults, at a share of what the machine can do: ``python -m tests.soak.soak --help``.

First a burst measures how many bookings a second come to rest. Then people and visitors act for so long at a share of
that, while a share of the vendors' answers is spoilt; every ten seconds the memory of each process and the queues are
looked at. A line is laid through what was seen after the warm-up. In the end comes the verdict of a bad day.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from models.figures import count_work
from models.listings import list_calendars
from models.queries import list_open
from models.session import transaction
from tests.badday.bad_day import MOST_OPEN, Day, arguments, keep, play
from tests.badday.outcome import Outcome, table_of
from tests.badday.traffic import PAUSES
from tests.soak.report import Report, as_markdown, as_table
from tests.soak.samples import Watching, growths, replaced
from tests.soak.visitors import Visitors
from workers.story import BURST

BURST_WISHES = 120
BURST_MOST_SECONDS = 300.0
SAMPLE_SECONDS = 10.0
WARM_UP_SHARE = 0.4  # of the time: caches, connections and Flower's list of tasks fill up
VENDORS = ("outlook", "google", "hubspot", "calcom")
PEOPLE_PER_SECOND = sum(BURST) / 2 / PAUSES["burst"] + 2 / PAUSES["touching"] + sum(1 / PAUSES[one] for one in VENDORS)


@dataclass(slots=True)
class Soak(Day):
    """A bad day with visitors, watched. Rates are wishes a second."""

    capacity: float = 0.0
    wanted: float = 0.0
    reached: float = 0.0
    soaking_since: float | None = None
    watching: Watching = field(init=False)

    def __post_init__(self) -> None:
        self.watching = Watching(self.run)

    def watch(self) -> None:
        if self.soaking_since is None:
            return
        at = time.monotonic() - self.soaking_since
        if not self.watching.samples or at - self.watching.samples[-1].at >= SAMPLE_SECONDS:
            self.watching.look(at)

    def _traffic(self) -> None:
        """Not ``super()``, which a class with slots made anew by ``dataclass`` does not have."""
        with transaction(self.run.sessions) as session:
            zones = {row.agent: row.zone for row in list_calendars(session)}
        rand = random.Random(f"{self.told.seed}:visitors")  # noqa: S311 - a story, not a secret
        visitors = Visitors(self.run.web, zones, diary=self.diary, rand=rand)
        self.act = "capacity"
        self.capacity = self._while(lambda: self._measure(visitors))
        people = min(PEOPLE_PER_SECOND, self._want() / 2)
        self.told.pace = PEOPLE_PER_SECOND / people
        visitors.start(self.wanted - people, is_full=lambda: sum(self.open) > MOST_OPEN)
        before, self.soaking_since = self._decided(), time.monotonic()
        Day._traffic(self)
        self.reached = (self._decided() - before) / (time.monotonic() - self.soaking_since)
        self.soaking_since = None
        self._while(visitors.stop)

    def _want(self) -> float:
        self.wanted = self.capacity * self.told.load
        return self.wanted

    def _measure(self, visitors: Visitors) -> float:
        """Bookings a second, from the first wish of a burst until each is decided and copied."""
        began = time.monotonic()
        visitors.burst(BURST_WISHES)
        while time.monotonic() - began < BURST_MOST_SECONDS:
            with transaction(self.run.sessions) as session:
                if list_open(session) == (0, 0):
                    break
            time.sleep(0.1)
        return BURST_WISHES / (time.monotonic() - began)

    def _decided(self) -> int:
        with transaction(self.run.sessions) as session:
            return count_work(session).decisions


def main() -> int:
    """The exit code is 0 if nothing grew and no promise broke."""
    parser = arguments(__doc__)
    parser.set_defaults(seconds=1800.0)
    parser.add_argument("--load", type=float, default=0.6, help="of the capacity that the burst measured")
    told = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the stack stops in order
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        made: list[Soak] = []

        def make(*given: Any) -> Soak:  # noqa: ANN401 - as a day is made
            made.append(Soak(*given))
            return made[0]

        outcome = play(told, Path(told.state or folder), make=make)
        if outcome.broken:
            keep(folder)
    return _tell(_report(made[0], outcome, told), told)


def _report(soak: Soak, outcome: Outcome, told: argparse.Namespace) -> Report:
    samples = soak.watching.samples
    return Report(
        seconds=told.seconds,
        warm_up=WARM_UP_SHARE * told.seconds,
        capacity=soak.capacity,
        wanted=soak.wanted,
        reached=soak.reached,
        growths=growths(samples, warm_up=WARM_UP_SHARE * told.seconds),
        replaced=replaced(samples),
        samples=samples,
        outcome=outcome,
    )


def _tell(report: Report, told: argparse.Namespace) -> int:
    console = Console(width=160)
    console.print(table_of(report.outcome.as_dict()))
    console.print(as_table(report))
    sys.stdout.write(as_markdown(report) + "\n")
    if told.json:
        Path(told.json).write_text(json.dumps(report.as_dict(), indent=1), encoding="utf-8")
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
