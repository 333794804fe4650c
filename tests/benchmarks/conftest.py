"""Collects what each benchmark measured: one table at the end, and ``WATERTIGHT_BENCH_JSON`` (else ``bench.json``) on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks.figures import Figure, as_table, write

FIGURES = pytest.StashKey[list[Figure]]()

Report = Callable[[Figure], None]


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    """Add one figure to the table."""
    return request.config.stash.setdefault(FIGURES, []).append


def pytest_sessionfinish(session: pytest.Session) -> None:
    figures = session.config.stash.get(FIGURES, [])
    if figures:
        write(figures, Path(os.environ.get("WATERTIGHT_BENCH_JSON", "bench.json")))


def pytest_terminal_summary(config: pytest.Config) -> None:
    if figures := config.stash.get(FIGURES, []):
        Console(width=180).print(as_table(figures))
