"""One line of the table of ``make bench``: what was measured, beside its floor measured in the same run."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.table import Table

PACKAGES = ("celery", "sqlalchemy", "psycopg", "requests", "pydantic", "fastapi")


@dataclass(frozen=True)
class Figure:
    """``value`` in ``unit``; ``floor`` in the same unit, with its name; ``goal`` as people read it, and whether it is met."""

    area: str
    what: str
    value: float
    unit: str
    floor: float | None = None
    floor_is: str = ""
    goal: str = ""
    met: bool | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return self.value / self.floor if self.floor else None


def as_table(figures: Iterable[Figure]) -> Table:
    """One table of all, in the order in which they were measured."""
    table = Table("area", "figure", "value", "floor", "ratio", "goal", title="watertight, measured")
    for figure in figures:
        floor = (
            f"{_short(figure.floor)} {figure.unit}: {figure.floor_is}" if figure.floor is not None else figure.floor_is
        )
        ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else ""
        mark = {None: "", True: " ✓", False: " ✗"}[figure.met]
        table.add_row(
            figure.area, figure.what, f"{_short(figure.value)} {figure.unit}", floor, ratio, figure.goal + mark
        )
    return table


def write(figures: Iterable[Figure], file: Path) -> None:
    """Everything that was measured, with the machine and the day, as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [vars(figure) | {"details": dict(figure.details), "ratio": figure.ratio} for figure in figures]
    file.write_text(
        json.dumps({"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "machine": _machine(), "figures": rows}, indent=1)
    )


def _machine() -> dict[str, Any]:
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {"system": platform.platform(), "cpu": cpu, "cores": cores, "python": platform.python_version(), **versions}


def _lines(file: str) -> list[str]:
    path = Path(file)
    return path.read_text().splitlines() if path.exists() else []


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
