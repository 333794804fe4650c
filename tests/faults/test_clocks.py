"""No decision depends on a worker's clock: leases, waits and holds are measured by the database's (P1, P6)."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import pytest

from providers.emulation import Fault
from sync.domain import Kind
from tests.faults.cell import Cell, add_cell
from tests.faults.operations import BOOKED, CANCELLED, HALF_PAST_THREE, KEPT, MOVED, TEN, THREE
from tests.faults.rig import ROOT, Message, Rig, until
from tests.integration.world import at

DAY_SECONDS = 86_400
WALL_CLOCK = {"now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime", "ctime", "fromtimestamp"}
CLOCKS = {"datetime", "date", "time"}
ALLOWED = {
    "sync/commit/master.py:_check_cancel": "evidence of a cancellation: when the event was read, for people",
    "sync/commit/master.py:_verify_cancel": "evidence of a cancellation: when it was seen to be gone, for people",
    "sync/commit/master.py:_read_around": "evidence of a check or a verification: when the window was read, for people",
}
"""Where Python's clock is read, and why no decision depends on it. Each writes ``read_at``, which only the verdict of a test world reads again."""


def test_no_decision_reads_the_clock_of_its_machine() -> None:
    """``time.monotonic`` is none: it measures how long something took, not when it was."""
    found = {
        place for package in ("sync", "models") for path in (ROOT / package).rglob("*.py") for place in reads(path)
    }
    assert found == set(ALLOWED)


def reads(path: Path) -> list[str]:
    """Every function that uses the wall clock, called or only named."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    owners = {
        id(node): function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    name = path.relative_to(ROOT).as_posix()
    found = [f"{name}:{owners.get(id(node), 'module')}" for node in ast.walk(tree) if is_wall_clock(node)]
    return found + [f"{name}:import" for node in ast.walk(tree) if imports_wall_clock(node)]


def is_wall_clock(node: ast.AST) -> bool:
    """``datetime.now``, ``datetime.datetime.now``, ``time.time`` and the like."""
    if not isinstance(node, ast.Attribute) or node.attr not in WALL_CLOCK:
        return False
    owner = node.value
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    return name in CLOCKS


def imports_wall_clock(node: ast.AST) -> bool:
    """``from time import time``, or one of the clocks under another name, which the search above would not know."""
    if isinstance(node, ast.ImportFrom) and node.module == "time":
        return any(alias.name in WALL_CLOCK for alias in node.names)
    aliases = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
    return any(alias.name in CLOCKS and alias.asname not in {None, alias.name} for alias in aliases)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("datetime.now(UTC)", True),
        ("datetime.datetime.utcnow()", True),
        ("date.today()", True),
        ("clock = time.time", True),
        ("from time import time", True),
        ("from datetime import datetime as moment", True),
        ("time.monotonic()", False),
        ("func.now()", False),
    ],
)
def test_the_search_finds_what_it_should(source: str, *, found: bool) -> None:
    nodes = list(ast.walk(ast.parse(source)))
    assert any(is_wall_clock(node) or imports_wall_clock(node) for node in nodes) is found


@pytest.mark.parametrize("ahead", [DAY_SECONDS, -DAY_SECONDS], ids=["a_day_ahead", "a_day_behind"])
def test_a_worker_whose_clock_is_wrong_decides_as_any_other(rig: Rig, ahead: int) -> None:
    """First alone, then beside one whose clock is right, with a vendor that makes them wait."""
    cell = add_cell(rig)
    wrong = rig.workers.start(ahead=ahead)
    book_move_and_hold(cell)
    assert clock_of(cell) == pytest.approx(ahead, abs=600)
    right = rig.workers.start()
    until(lambda: right.log.exists() and "ready." in right.log.read_text(), "another worker that is ready")
    cancel_and_expire(cell)
    for worker in (wrong, right):
        worker.end()
    cell.quiesce()
    cell.assert_whole(busy=[HALF_PAST_THREE], decided=[BOOKED, MOVED, KEPT, BOOKED, CANCELLED])


def book_move_and_hold(cell: Cell) -> None:
    """A hold does not run out before the database says so, and where the vendor limits, the row waits."""
    send(cell, [f"proposal:{cell.wish(Kind.HOLD, at(12)).id}"])
    cell.rig.publish([("ReleaseHolds", ())])
    limit(cell)
    send(cell, [cell.ask(TEN)])
    send(cell, [f"proposal:{cell.wish(Kind.MOVE, THREE, appointment=cell.appointment()).id}"])
    assert [feed.busy() for feed in cell.feeds] == [[THREE], [THREE]]
    assert cell.kept() == [at(12)]


def cancel_and_expire(cell: Cell) -> None:
    """Two at one time: what one worker has leased, the other leaves alone."""
    cell.end_holds()
    send(cell, [])
    assert cell.kept() == []
    send(cell, [f"proposal:{cell.wish(Kind.CANCEL, appointment=cell.appointment()).id}"] * 6)
    limit(cell)
    send(cell, [cell.ask(HALF_PAST_THREE)] * 6)


def limit(cell: Cell) -> None:
    """Once, for a second."""
    cell.master.emulator.faults.arm(Fault(kind="rate_limited", calendar=cell.master.ref.remote, seconds=1))


def send(cell: Cell, references: Sequence[str]) -> None:
    """Until all is decided and copied. A message may wait by a clock that is wrong; the row that it wakes does not."""
    upkeep: list[Message] = [("ResumeCommits", ()), ("ReleaseHolds", ())]
    cell.rig.publish([("Commit", (reference,)) for reference in references] or upkeep)
    until(lambda: not cell.due(), "nothing due", beat=lambda: cell.rig.publish(upkeep))


def clock_of(cell: Cell) -> float:
    """By how many seconds the evidence of the last decision on the master is ahead of the database."""
    query = (
        "SELECT extract(epoch FROM (d.evidence->>'read_at')::timestamptz - d.decided_at)::float FROM decisions d"
        " JOIN proposals p ON p.id = d.proposal_id WHERE p.agent_id = ANY(:agents) ORDER BY d.id DESC LIMIT 1"
    )
    [(seconds,)] = cell.rig.sql(query, agents=cell.agents)
    return float(seconds)
