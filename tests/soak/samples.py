"""What a stack that works has in memory and in its queues, from moment to moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import redis
from sqlalchemy.exc import OperationalError

from models.gauges import read_gauges
from models.session import transaction
from tests.soak.fit import Line, fit, is_age_flat, is_memory_flat, memory_limit
from workers.up import Running

QUEUES = ("new", "cancel", "update", "commit", "upkeep")
KIB_PER_MIB = 1024
SURROUNDINGS = "emulator-"  # the vendors: what they keep is what people wrote, and no part of what is run for real


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. Memory is in MiB: ``own`` (anonymous pages, which a leak would be made of) and ``pss`` (shared ones by share)."""

    at: float
    own: Mapping[str, float]
    pss: Mapping[str, float]
    pids: Mapping[str, int]
    messages: int
    oldest_seconds: float
    open: int


@dataclass(slots=True)
class Watching:
    """Samples of one run. Whatever does not answer just now is looked at again the next time."""

    run: Running
    samples: list[Sample] = field(default_factory=list)

    def look(self, at: float) -> None:
        """Add a sample, taken ``at`` seconds after the beginning."""
        with suppress(OperationalError, redis.RedisError):
            with transaction(self.run.sessions) as session:
                gauges = read_gauges(session)
            ages = [one.value for one in gauges if one.name == "watertight_oldest_due_seconds"]
            pending = [one.value for one in gauges if one.name == "watertight_proposals_open"]
            pids = self.run.processes()
            memory = {name: read_memory(pid) for name, pid in pids.items()}
            own, pss = ({name: found[part] for name, found in memory.items()} for part in (0, 1))
            waiting = count_messages(self.run.stack.broker_url)
            self.samples.append(Sample(at, own, pss, pids, waiting, max(ages, default=0.0), int(sum(pending))))


def read_memory(pid: int) -> tuple[float, float]:
    """MiB of a process and all of its descendants: anonymous, and proportional. One that has just ended has none."""
    own = pss = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(OSError):
                rows = Path(f"/proc/{one.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
                sizes = {name: int(rest.split()[0]) for name, _, rest in (row.partition(":") for row in rows)}
                own += sizes.get("Pss_Anon", sizes["Anonymous"]) / KIB_PER_MIB
                pss += sizes["Pss"] / KIB_PER_MIB
    return own, pss


def count_messages(broker_url: str) -> int:
    """How many wait in all queues."""
    with redis.Redis.from_url(broker_url) as broker:
        return sum(int(broker.llen(queue)) for queue in QUEUES)


@dataclass(frozen=True, slots=True)
class Growth:
    """One process, or one queue, over all samples after the warm-up."""

    name: str
    unit: str
    first: float
    last: float
    most: float
    per_hour: float
    surely_per_hour: float
    limit: float | None
    flat: bool

    def as_dict(self) -> dict[str, Any]:
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(self).items()}


def growths(samples: Sequence[Sample], *, warm_up: float) -> list[Growth]:
    """Of each process, and of the queues' age, length and open proposals, from ``warm_up`` seconds on."""
    warm = [sample for sample in samples if sample.at >= warm_up]
    names = sorted({name for sample in warm for name in sample.own})
    found = [_of_process(name, warm) for name in names]
    ages = fit([(sample.at, sample.oldest_seconds) for sample in warm])
    age = _growth("age of the oldest due", "s", [sample.oldest_seconds for sample in warm], ages)
    lengths = [float(sample.messages) for sample in warm]
    messages = _growth("messages waiting", "", lengths, fit([(one.at, float(one.messages)) for one in warm]))
    proposals = [float(sample.open) for sample in warm]
    undecided = _growth("proposals open", "", proposals, fit([(one.at, float(one.open)) for one in warm]))
    return [*found, _judged(age, ages), messages, undecided]


def replaced(samples: Sequence[Sample]) -> list[str]:
    """The programs that ended and were started again, which nobody made them do."""
    pids: dict[str, set[int]] = {}
    for sample in samples:
        for name, pid in sample.pids.items():
            pids.setdefault(name, set()).add(pid)
    return sorted(name for name, own in pids.items() if len(own) > 1)


def _of_process(name: str, samples: Sequence[Sample]) -> Growth:
    points = [(sample.at, sample.own[name]) for sample in samples if sample.own.get(name)]
    line = fit(points)
    ours = not name.startswith(SURROUNDINGS)
    values = [value for _, value in points] or [0.0]
    limit, flat = (memory_limit(line), is_memory_flat(line)) if ours else (None, True)
    return _growth(name, "MiB", values, line, limit=limit, flat=flat)


def _growth(
    name: str, unit: str, values: Sequence[float], line: Line, *, limit: float | None = None, flat: bool = True
) -> Growth:
    shown = values or [0.0]
    return Growth(name, unit, shown[0], shown[-1], max(shown), line.per_hour, line.surely_per_hour, limit, flat)


def _judged(age: Growth, line: Line) -> Growth:
    return Growth(
        age.name, age.unit, age.first, age.last, age.most, age.per_hour, age.surely_per_hour, 0.0, is_age_flat(line)
    )
