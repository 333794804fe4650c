"""A worker that has to wait tries again as often as it takes: waiting is no bug, and nobody need be told."""

from __future__ import annotations

from sync.boundaries import Boundary
from sync.domain import Kind
from tests.faults.cell import add_cell
from tests.faults.operations import BOOKED, HALF_PAST, MOVED, TEN, THREE
from tests.faults.rig import Rig, until


def test_a_commit_that_has_waited_many_times_waits_once_more(rig: Rig) -> None:
    """Two moves of one appointment are taken in turn, and the first one's worker is away."""
    cell = add_cell(rig)
    cell.book(TEN)
    first, second = (
        f"proposal:{cell.wish(Kind.MOVE, to, appointment=cell.appointment()).id}" for to in (THREE, HALF_PAST)
    )
    cell.abandon(first, Boundary.CHECKED)
    worker = rig.workers.start()
    rig.publish([("Commit", (second,))], retries=10)
    until(lambda: len(worker.passed()) >= 4, "worker that has tried twice")
    rig.engine.commit(first)
    until(lambda: cell.decided().count(MOVED) == 2, "both moves")
    rig.drain()
    worker.end()
    cell.quiesce()
    cell.assert_whole(busy=[HALF_PAST], decided=[BOOKED, MOVED, MOVED])
