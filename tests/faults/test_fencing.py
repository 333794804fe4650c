"""A worker that slept past its lease and wakes up changes nothing in the ledger, and what it still writes is undone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from sync.boundaries import Boundary as B  # noqa: N817 - the table is read by its columns
from sync.domain import Interval
from tests.faults.cell import Cell, Decided
from tests.faults.figures import FULL
from tests.faults.operations import (
    BOOKED,
    CANCELLED,
    HALF_PAST,
    HALF_PAST_THREE,
    MOVED,
    OPERATIONS,
    REFUSED,
    TEN,
    THREE,
)
from tests.faults.rig import Rig

LEDGER = {
    "slots": "t.agent_id = ANY(:agents)",
    "appointments": "t.agent_id = ANY(:agents)",
    "proposals": "t.agent_id = ANY(:agents)",
    "writes": "t.agent_id = ANY(:agents)",
    "decisions": "t.proposal_id IN (SELECT id FROM proposals WHERE agent_id = ANY(:agents))",
    "remote_links": "t.calendar_id IN (SELECT id FROM calendars WHERE agent_id = ANY(:agents))",
}
GONE = ("move", "gone")  # another job looked at a stray while its removal was being decided


@dataclass(frozen=True)
class Nap:
    """A worker stops in ``operation`` at ``at``; ``meanwhile`` people act, another worker decides, and it wakes up.

    In the end ``busy`` is shown and ``decided`` are the decisions; ``late`` is how many events of a write that was given
    up the sleeper still makes.
    """

    operation: str
    at: B
    busy: tuple[Interval, ...]
    decided: tuple[Decided, ...]
    meanwhile: Callable[[Cell], object] = lambda _: None
    echoes: tuple[Decided, ...] = ()
    late: int = 0

    def __str__(self) -> str:
        return f"{self.operation}-{self.at}"


def type_half_past(cell: Cell) -> None:
    cell.master.type(HALF_PAST)


def type_half_past_three(cell: Cell) -> None:
    cell.master.type(HALF_PAST_THREE)


def drag_away(cell: Cell) -> None:
    cell.master.drag(cell.master.only(), THREE)


def delete_on_master(cell: Cell) -> None:
    """And let the ledger follow, so that the copy is no longer wanted."""
    cell.master.delete(cell.master.only())
    cell.detect()
    for reference in cell.due():
        if reference.startswith("proposal"):
            cell.rig.engine.commit(reference)


STEPS = (B.CHECKED, B.WROTE, B.VERIFY_READ, B.SETTLING) if FULL else (B.CHECKED, B.SETTLING)
FINISHED = [
    *(Nap("book", at, (TEN,), (BOOKED,)) for at in STEPS),
    *(Nap("move_by_half", at, (HALF_PAST,), (BOOKED, MOVED), echoes=(("move", "already_done"),)) for at in STEPS),
    *(Nap("cancel", at, (), (BOOKED, CANCELLED), echoes=(("cancel", "already_done"),)) for at in STEPS),
    Nap("mirror_write", B.COPY_CHECKED, (TEN,), (BOOKED,)),
]
OVERTAKEN = [
    Nap("book", B.CHECKED, (HALF_PAST,), (REFUSED, BOOKED, CANCELLED), type_half_past, (GONE,), late=1),
    *(Nap("book", at, (HALF_PAST,), (REFUSED, BOOKED), type_half_past, (CANCELLED,)) for at in STEPS[1:]),
    *(
        Nap("move", at, (TEN, HALF_PAST_THREE), (BOOKED, ("move", "master_busy"), BOOKED), type_half_past_three)
        for at in STEPS
    ),
    Nap("cancel", B.CHECKED, (THREE,), (BOOKED, ("cancel", "master_changed"), MOVED), drag_away),
    Nap("mirror_write", B.COPY_CHECKED, (), (BOOKED, CANCELLED, CANCELLED), delete_on_master, (GONE,), late=1),
]


@pytest.mark.parametrize("nap", FINISHED, ids=str)
def test_who_wakes_up_after_another_worker_has_finished_changes_nothing(rig: Rig, nap: Nap) -> None:
    assert_harmless(rig, nap)


@pytest.mark.parametrize("nap", OVERTAKEN, ids=str)
def test_who_wakes_up_after_people_have_changed_the_calendar_changes_nothing(rig: Rig, nap: Nap) -> None:
    assert_harmless(rig, nap)


def assert_harmless(rig: Rig, nap: Nap) -> None:
    operation = next(one for one in OPERATIONS if one.name == nap.operation)
    cell = operation.cell(rig)
    messages = operation.act(cell)
    worker = rig.workers.start(ends={f"{nap.at}#1": "stop"})
    rig.publish(messages)
    assert worker.wait() == {"stopped": signal.SIGSTOP}
    nap.meanwhile(cell)
    decide_elsewhere(cell)
    before, made_before = ledger(cell), made(cell)
    worker.go_on()
    rig.drain()
    worker.end()
    assert ledger(cell) == before
    assert len(made(cell) - made_before) == nap.late
    cell.quiesce()
    cell.assert_whole(busy=nap.busy, decided=nap.decided, echoes=nap.echoes)


def decide_elsewhere(cell: Cell) -> None:
    """What a second worker does once the lease has run out; the database ends a transaction that idles for a minute."""
    rig = cell.rig
    rig.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
    cell.expire_leases()
    cell.work()
    assert not [reference for reference in cell.due() if reference.startswith("proposal")]


def made(cell: Cell) -> set[str]:
    return {event for feed in cell.feeds for event, maker in feed.live().items() if maker != "human"}


def ledger(cell: Cell) -> dict[str, Sequence[object]]:
    """Every row of the agent, as it is."""
    return {
        table: cell.rig.sql(f"SELECT to_jsonb(t) FROM {table} t WHERE {mine} ORDER BY t.id", agents=cell.agents)  # noqa: S608
        for table, mine in LEDGER.items()
    }
