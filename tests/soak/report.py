"""What came of a soak, for a terminal, for a file and for docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from tests.badday.outcome import Outcome
from tests.soak.samples import Growth, Sample

HEADINGS = ("what", "after warm-up", "at the end", "most", "growth per hour", "surely", "limit", "")


@dataclass(frozen=True, slots=True)
class Report:
    """Times in seconds, rates in wishes a second. ``growths`` are of what was seen after the warm-up."""

    seconds: float
    warm_up: float
    capacity: float
    wanted: float
    reached: float
    growths: Sequence[Growth]
    replaced: Sequence[str]
    samples: Sequence[Sample]
    outcome: Outcome

    @property
    def failures(self) -> list[str]:
        """Why it is not good, in a sentence each."""
        return [
            *(f"{one.name} grows by {one.per_hour:.1f} {one.unit} an hour" for one in self.growths if not one.flat),
            *(f"{name} ended and was started again" for name in self.replaced),
            *self.outcome.broken,
        ]

    @property
    def is_good(self) -> bool:
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        rates = {"capacity": self.capacity, "wanted": self.wanted, "reached": self.reached}
        return {
            "seconds": self.seconds,
            "warm_up_seconds": self.warm_up,
            "per_second": {name: round(value, 2) for name, value in rates.items()},
            "growths": [one.as_dict() for one in self.growths],
            "failures": self.failures,
            "day": self.outcome.as_dict(),
            "samples": [asdict(one) for one in self.samples],
        }


def as_table(report: Report) -> Table:
    """A line for each process and queue, and what failed."""
    table = Table(*HEADINGS, title=_title(report), caption="\n".join(report.failures) or "flat and clean")
    for one in report.growths:
        table.add_row(*_cells(one))
    return table


def as_markdown(report: Report) -> str:
    """The same for the docs."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_cells, report.growths)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{_title(report)}\n\n{lines}\n\n{'; '.join(report.failures) or 'Flat and clean.'}"


def _title(report: Report) -> str:
    return (
        f"{report.seconds:.0f} s of traffic at {report.reached:.1f} decisions/s (wanted {report.wanted:.1f}, of a"
        f" capacity of {report.capacity:.1f}); lines from {report.warm_up:.0f} s on"
    )


def _cells(one: Growth) -> tuple[str, ...]:
    unit = f" {one.unit}" if one.unit else ""
    values = (f"{value:.1f}{unit}" for value in (one.first, one.last, one.most, one.per_hour, one.surely_per_hour))
    limit = f"{one.limit:.1f}{unit}" if one.limit is not None else ""
    return (one.name, *values, limit, "flat" if one.flat else "GROWS")
