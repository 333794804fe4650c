"""A straight line through samples, and what counts as flat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HOUR_SECONDS = 3600.0
SIGMAS = 2.0
GROWTH_PER_HOUR = 0.10  # of what a process has; an allocator moves that much
LEAST_MIB_PER_HOUR = 16.0
LEAST_MIB = 4.0  # over all samples: less is pages that come and go
LEAST_SECONDS = 30.0  # a queue's age swings by as much when a vendor asks to wait

Point = tuple[float, float]
"""Seconds since the beginning, and the value then."""


@dataclass(frozen=True, slots=True)
class Line:
    """``value = start + slope * seconds``; ``error`` is the standard error of the slope, ``seconds`` how long was looked."""

    start: float
    slope: float
    error: float
    seconds: float

    @property
    def per_hour(self) -> float:
        return self.slope * HOUR_SECONDS

    @property
    def surely_per_hour(self) -> float:
        """What it grows by at least: scatter alone does not look like growth."""
        return max(0.0, self.slope - SIGMAS * self.error) * HOUR_SECONDS

    @property
    def grown(self) -> float:
        """From the first sample to the last, along the line."""
        return self.slope * self.seconds


def fit(points: Sequence[Point]) -> Line:
    """The line of least squares; a level one through fewer than three points, which say nothing of growth."""
    if len(points) < 3:
        return Line(points[0][1] if points else 0.0, 0.0, 0.0, 0.0)
    middle = sum(x for x, _ in points) / len(points)
    mean = sum(y for _, y in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    slope = sum((x - middle) * (y - mean) for x, y in points) / spread if spread else 0.0
    start = mean - slope * middle
    scatter = sum((y - start - slope * x) ** 2 for x, y in points) / (len(points) - 2)
    error = math.sqrt(scatter / spread) if spread else 0.0
    return Line(start, slope, error, points[-1][0] - points[0][0])


def memory_limit(line: Line) -> float:
    """MiB an hour that a process may grow by: a tenth of what it has, and 16 at least."""
    return max(LEAST_MIB_PER_HOUR, GROWTH_PER_HOUR * line.start)


def is_memory_flat(line: Line) -> bool:
    """Whether a process does not grow (in MiB): neither beyond its limit nor, over all that was seen, by more than 4."""
    return line.surely_per_hour <= memory_limit(line) or line.grown <= LEAST_MIB


def is_age_flat(line: Line) -> bool:
    """Whether a queue's age (in seconds) does not grow: not surely, or over all that was seen by less than 30."""
    return line.surely_per_hour <= 0.0 or line.grown <= LEAST_SECONDS
