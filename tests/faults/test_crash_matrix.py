"""A worker dies at every boundary of every operation, and ordinary work makes everything whole again (P1 to P5)."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from sync.boundaries import Boundary
from tests.faults.cell import Cell
from tests.faults.figures import FULL, record
from tests.faults.operations import OPERATIONS, Operation
from tests.faults.rig import Message, Rig, until

DEATHS = [(operation, passing) for operation in OPERATIONS for passing in operation.deaths(full=FULL)]
LIVES = [operation for operation in OPERATIONS if FULL or not operation.always]  # the others show it by dying there
FOR_REAL = {
    "book": Boundary.WROTE,
    "move": Boundary.WROTE,
    "cancel": Boundary.WROTE,
    "mirror_write": Boundary.COPY_WROTE,
    "source_answer": Boundary.COPY_CHECKED,
    "hold_expires": Boundary.RELEASING,
    "reassigned": Boundary.WROTE,
}

IN_EVERY_RUN = ("book", "hold_expires", "reassigned")

counts: Counter[str] = Counter()
heard: set[tuple[str, ...]] = set()


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds = round(time.monotonic() - began, 1)
    record(
        "crash matrix",
        boundaries=len(Boundary),
        operations=len(OPERATIONS),
        seconds=seconds,
        **counts,
        echoes=sorted(heard),
    )


def test_every_boundary_is_tested() -> None:
    """A boundary that is new in ``sync.boundaries`` belongs into a row of ``tests/faults/operations.py``."""
    assert {Boundary(passing.partition("#")[0]) for _, passing in DEATHS} == set(Boundary)


@pytest.mark.parametrize("operation", LIVES, ids=lambda operation: operation.name)
def test_a_worker_passes_the_boundaries_that_the_table_says(rig: Rig, operation: Operation) -> None:
    """So that "every point of every operation" is what the table lists, and no more or less."""
    cell = operation.cell(rig)
    messages = operation.act(cell)
    worker = rig.workers.start(ends={f"{operation.pause}#1": "stop"} if operation.pause else {})
    rig.publish(messages)
    if operation.pause:
        assert worker.wait() == {"stopped": signal.SIGSTOP}
        operation.meanwhile(cell)
        worker.go_on()
    until(lambda: len(worker.passed()) >= len(operation.passings), "worker that has passed everything")
    rig.drain()
    worker.end()
    assert worker.passed() == operation.passings
    cell.recover()
    heard.update((operation.name, *echo) for echo in operation.assert_whole(cell))
    counts["lived"] += 1


@pytest.mark.parametrize(("operation", "passing"), DEATHS, ids=[f"{one.name}-{passing}" for one, passing in DEATHS])
def test_ordinary_work_finishes_what_a_dead_worker_began(rig: Rig, operation: Operation, passing: str) -> None:
    cell = operation.cell(rig)
    die_at(rig, cell, operation, passing, operation.act(cell))
    cell.recover()
    heard.update((operation.name, *echo) for echo in operation.assert_whole(cell))


@pytest.mark.parametrize("name", FOR_REAL if FULL else IN_EVERY_RUN)
def test_a_second_worker_finishes_what_a_dead_one_began(rig: Rig, name: str) -> None:
    """With what beat sends, and nothing else."""
    operation = next(one for one in OPERATIONS if one.name == name)
    cell = operation.cell(rig)
    die_at(rig, cell, operation, f"{FOR_REAL[name]}#1", operation.act(cell))
    cell.recover_by_worker()
    heard.update((operation.name, *echo) for echo in operation.assert_whole(cell))
    counts["recovered_by_a_worker"] += 1


def die_at(rig: Rig, cell: Cell, operation: Operation, passing: str, messages: Sequence[Message]) -> None:
    """Where the worker dies before the place at which people act, they act all the same."""
    pause = {f"{operation.pause}#1": "stop"} if operation.pause else {}
    worker = rig.workers.start(ends={**pause, passing: "kill"})
    rig.publish(messages)
    end = worker.wait()
    operation.meanwhile(cell)
    if end == {"stopped": signal.SIGSTOP}:
        worker.go_on()
        end = worker.wait()
    assert end == {"ended": -signal.SIGKILL}, worker.log.read_text()[-3000:]
    assert worker.passed() == operation.passings[: operation.passings.index(passing) + 1]
    counts["died"] += 1
