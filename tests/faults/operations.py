"""The table of the crash matrix: every operation, how it comes in, which boundaries its worker passes, and how it ends.

A worker that nobody ends passes exactly ``passes``, in that order (there is a test), and every one of these places is a
cell of the matrix. A new boundary in ``sync.boundaries`` belongs into at least one of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.session import transaction
from providers.emulation import Fault
from sync.boundaries import Boundary as B  # noqa: N817 - the table is read by its columns
from sync.domain import Interval, Job, Kind, Role
from sync.intake import insert_repair
from tests.faults.cell import Cell, Decided, add_cell
from tests.faults.rig import Message, Rig
from tests.integration.world import at

JOB = (B.JOB_CLAIMED, B.JOB_READ, B.JOB_STORING, B.JOB_CURSOR, B.JOB_STORED)
CLAIMED = (B.CLAIM, B.CLAIMING, B.CLAIMED)
DECIDED = (
    *(B.CHECK_READ, B.CHECKED, B.WROTE, B.WRITTEN, B.VERIFY_READ, B.VERIFIED),
    *(B.SETTLING, B.SETTLED),
)
UNDONE = (B.CHECK_READ, B.CHECKED, B.WROTE, B.WRITTEN, B.VERIFY_READ, B.UNDOING, B.UNDONE, B.REFUSING, B.REFUSED)
FOLLOWED = (B.CLAIM, B.CLAIMING, B.FOLLOW_READ, B.FOLLOWING, B.FOLLOWED)
HELD = (B.CHECK_READ, B.CHECKED, B.SETTLING, B.SETTLED)
MENDED = (B.MEND_READ, B.MEND_WROTE, B.MENDING, B.MENDED)
RELEASED = (B.RELEASING, B.RELEASED)
COPY = (B.COPY_CLAIMED, B.COPY_CHECKED, B.COPY_WROTE, B.COPY_RECORDING, B.COPY_RECORDED)

TEN, HALF_PAST, THREE, HALF_PAST_THREE = at(10), at(10.5), at(15), at(15.5)
BOOKED, REFUSED = ("book", "accepted"), ("book", "master_busy")
MOVED, CANCELLED, KEPT = ("move", "accepted"), ("cancel", "accepted"), ("hold", "accepted")


@dataclass(frozen=True)
class Operation:
    """One row. ``act`` prepares, does what people do, and answers with the messages that set the worker to work.

    ``busy`` is what every calendar shows in the end, ``handed`` what a colleague's calendars show, if there is one, and
    ``kept`` what is held for visitors. ``decided`` are the kind and the reason of every decision. With ``pause``, the worker stops there and ``meanwhile`` happens before it goes on. Deaths at the first passing of a
    boundary in ``always`` are in every run of the suite; the others, where another operation does the same, only in a
    full one. A job that reads the master between our write and its record takes what it sees for a person's doing:
    ``echoes`` are the decisions that then find nothing left to do.
    """

    name: str
    act: Callable[[Cell], Sequence[Message]]
    passes: tuple[B, ...]
    busy: tuple[Interval, ...]
    decided: tuple[Decided, ...]
    mirrors: int = 1
    handed: tuple[Interval, ...] | None = None
    kept: tuple[Interval, ...] = ()
    pause: B | None = None
    meanwhile: Callable[[Cell], object] = lambda _: None
    always: tuple[B, ...] = ()
    echoes: tuple[Decided, ...] = ()

    @property
    def passings(self) -> list[str]:
        """Each boundary with the number of its passing, as a worker notes them."""
        return [f"{boundary}#{self.passes[: place + 1].count(boundary)}" for place, boundary in enumerate(self.passes)]

    def cell(self, rig: Rig) -> Cell:
        return add_cell(rig, mirrors=self.mirrors, colleague=self.handed is not None)

    def assert_whole(self, cell: Cell) -> list[Decided]:
        """As ``Cell.assert_whole`` says; which of the echoes there were."""
        return cell.assert_whole(
            busy=self.busy, decided=self.decided, echoes=self.echoes, handed=self.handed or (), kept=self.kept
        )

    def deaths(self, *, full: bool) -> list[str]:
        """Where workers are to die."""
        return self.passings if full else [f"{boundary}#1" for boundary in self.always]


def _commit(reference: str) -> list[Message]:
    return [("Commit", (reference,))]


def _book(cell: Cell) -> list[Message]:
    return _commit(cell.ask(TEN))


def _book_from_mirror(cell: Cell) -> list[Message]:
    cell.look(cell.mirror, Job.NEW)
    cell.mirror.type(TEN)
    return [cell.mirror.job(Job.NEW)]


def _drag_on(role: Role, *, to: Interval) -> Callable[[Cell], list[Message]]:
    """A person moves our event there."""

    def act(cell: Cell) -> list[Message]:
        feed = cell.of(role)
        cell.book(TEN)
        cell.look(feed, Job.UPDATE)
        feed.drag(feed.only(), to)
        return [feed.job(Job.UPDATE)]

    return act


def _delete_on(role: Role) -> Callable[[Cell], list[Message]]:
    """A person deletes our event there."""

    def act(cell: Cell) -> list[Message]:
        feed = cell.of(role)
        cell.book(TEN)
        cell.look(feed, Job.CANCEL)
        feed.delete(feed.only())
        return [feed.job(Job.CANCEL)]

    return act


def _mirror_write(cell: Cell) -> list[Message]:
    cell.rig.engine.commit(cell.ask(TEN))
    (reference,) = cell.due()
    return _commit(reference)


def _source_answer(cell: Cell) -> list[Message]:
    cell.book(TEN)
    cell.look(cell.mirror, Job.NEW)
    cell.mirror.type(HALF_PAST)
    return [cell.mirror.job(Job.NEW)]


def _master_busy(cell: Cell) -> list[Message]:
    cell.look(cell.mirror, Job.NEW)
    cell.master.type(TEN)
    cell.mirror.type(TEN)
    return [cell.mirror.job(Job.NEW)]


def _master_fails(cell: Cell) -> list[Message]:
    """Longer than a task would wait for, so that the row waits."""
    cell.master.emulator.faults.arm(Fault(kind="rate_limited", calendar=cell.master.ref.remote, seconds=600))
    return _book(cell)


def _abandoned(cell: Cell) -> list[Message]:
    cell.abandon(cell.ask(TEN), B.CHECKED)
    return [("ResumeCommits", ())]


def _hold(cell: Cell) -> list[Message]:
    return _commit(f"proposal:{cell.wish(Kind.HOLD, TEN).id}")


def _hold_expires(cell: Cell) -> list[Message]:
    cell.hold(TEN)
    cell.end_holds()
    return [("ReleaseHolds", ())]


def _hold_converted(cell: Cell) -> list[Message]:
    """Its time is over, but nobody has taken what was held."""
    secret = cell.hold(TEN)
    cell.end_holds()
    return _commit(f"proposal:{cell.wish(Kind.BOOK, TEN, title='Demo', hold=secret).id}")


def _by_number(kind: Kind, to: Interval | None = None) -> Callable[[Cell], list[Message]]:
    """A person asks by the number of the appointment."""

    def act(cell: Cell) -> list[Message]:
        cell.book(TEN)
        return _commit(f"proposal:{cell.wish(kind, to, appointment=cell.appointment()).id}")

    return act


def _reassign(cell: Cell) -> list[Message]:
    cell.book(TEN)
    assert cell.colleague is not None
    wish = cell.wish(Kind.MOVE, TEN, appointment=cell.appointment(), agent=cell.colleague.slug)
    return _commit(f"proposal:{wish.id}")


def _stray(cell: Cell) -> list[Message]:
    """A worker slept between check and write; another one refused, and then it woke up and wrote."""
    reference = cell.ask(TEN)
    cell.abandon(reference, B.CHECKED)
    cell.master.type(HALF_PAST)
    cell.quiesce()
    number = int(reference.partition(":")[2])
    cell.plant(TEN, cell.rig.sql("SELECT key FROM writes WHERE proposal_id = :id", id=number)[0][0])
    return [cell.master.job(Job.NEW)]


def _repair(cell: Cell) -> list[Message]:
    """A calendar still shows a copy whose deletion it had confirmed, and an audit has seen it."""
    cell.book(TEN)
    cell.rig.engine.commit(f"proposal:{cell.wish(Kind.CANCEL, appointment=cell.appointment()).id}")
    mine = {"calendar": cell.mirror.ref.id}
    cell.rig.sql("UPDATE writes SET state = 'done' WHERE state = 'due' AND calendar_id = :calendar", **mine)
    cell.rig.sql("UPDATE remote_links SET gone = true WHERE calendar_id = :calendar", **mine)
    (event,) = cell.mirror.read()
    about = {"calendar_id": cell.mirror.ref.id, "remote_id": event.remote_id, "remote_version": event.version}
    with transaction(cell.rig.runtime.sessions) as session:
        proposal = insert_repair(session, f"repair:{cell.slug}", agent_id=cell.agents[0], **about)
    return _commit(f"proposal:{proposal}")


OPERATIONS = [
    Operation("book", _book, CLAIMED + DECIDED + COPY, (TEN,), (BOOKED,), always=CLAIMED + DECIDED),
    Operation("book_from_mirror", _book_from_mirror, JOB + CLAIMED + DECIDED, (TEN,), (BOOKED,)),
    Operation(
        "move", _drag_on(Role.MIRROR, to=THREE), JOB + CLAIMED + DECIDED + COPY, (THREE,),
        (BOOKED, MOVED), mirrors=2, always=(B.WROTE, B.SETTLING), echoes=(("move", "already_done"),),
    ),
    Operation(
        "move_by_half", _drag_on(Role.MIRROR, to=HALF_PAST), JOB + CLAIMED + DECIDED, (HALF_PAST,),
        (BOOKED, MOVED), echoes=(("move", "already_done"),),
    ),
    Operation(
        "cancel", _delete_on(Role.MIRROR), JOB + CLAIMED + DECIDED + COPY, (),
        (BOOKED, CANCELLED), mirrors=2, always=(B.WROTE,),
        echoes=(("cancel", "already_done"),),
    ),
    Operation("mirror_write", _mirror_write, COPY, (TEN,), (BOOKED,), always=COPY),
    Operation(
        "source_answer", _source_answer, (*JOB, B.CLAIM, B.CLAIMING, *COPY), (TEN,),
        (BOOKED, ("book", "slot_taken")), always=JOB,
    ),
    Operation(
        "refused", _master_busy, (*JOB, *CLAIMED, B.CHECK_READ, B.REFUSING, B.REFUSED, *COPY), (TEN,),
        (REFUSED, BOOKED), always=(B.REFUSING, B.REFUSED),
    ),
    Operation(
        "undone", _book, CLAIMED + UNDONE, (HALF_PAST,),
        (REFUSED, BOOKED), pause=B.CHECKED, meanwhile=lambda cell: cell.master.type(HALF_PAST),
        always=(B.UNDOING, B.UNDONE), echoes=(CANCELLED,),
    ),
    Operation(
        "move_undone", _drag_on(Role.MIRROR, to=THREE), JOB + CLAIMED + UNDONE + COPY, (TEN, HALF_PAST_THREE),
        (BOOKED, ("move", "master_busy"), BOOKED), pause=B.CHECKED,
        meanwhile=lambda cell: cell.master.type(HALF_PAST_THREE), always=(B.UNDONE,),
        echoes=(("move", "stale"), ("move", "already_done")),
    ),
    Operation(
        "failed", _master_fails, (*CLAIMED, B.FAILED, B.SNOOZED), (TEN,), (BOOKED,), always=(B.FAILED, B.SNOOZED)
    ),
    Operation(
        "resumed", _abandoned, (B.DUE_FOUND, B.CLAIM, B.RESUMING, B.CLAIMING, B.RESUMED, *DECIDED, *COPY), (TEN,),
        (BOOKED,), always=(B.DUE_FOUND, B.RESUMING, B.RESUMED),
    ),
    Operation(
        "followed_move", _drag_on(Role.MASTER, to=THREE), JOB + FOLLOWED + COPY, (THREE,),
        (BOOKED, MOVED), always=(B.FOLLOW_READ, B.FOLLOWING, B.FOLLOWED),
        echoes=(("move", "already_done"),),
    ),
    Operation("followed_cancel", _delete_on(Role.MASTER), JOB + FOLLOWED + COPY, (), (BOOKED, CANCELLED)),
    Operation(
        "stray", _stray, (*JOB, B.CLAIM, B.CLAIMING), (HALF_PAST,),
        (REFUSED, BOOKED, CANCELLED), always=(B.CLAIMING,), echoes=(("move", "gone"),),
    ),
    Operation(
        "hold", _hold, CLAIMED + HELD, (), (KEPT,), kept=(TEN,), always=(B.SETTLING,)
    ),
    Operation(
        "repair", _repair, (B.CLAIM, B.CLAIMING, *MENDED), (), (BOOKED, CANCELLED), always=MENDED,
        echoes=(("repair", "accepted"),),
    ),
    Operation("hold_expires", _hold_expires, RELEASED, (), (KEPT,), always=RELEASED),
    Operation(
        "hold_converted", _hold_converted, CLAIMED + DECIDED + COPY, (TEN,), (KEPT, BOOKED),
        always=(B.SETTLING,),
    ),
    Operation(
        "move_by_number", _by_number(Kind.MOVE, THREE), CLAIMED + DECIDED + COPY, (THREE,), (BOOKED, MOVED),
        always=(B.SETTLING,), echoes=(("move", "already_done"),),
    ),
    Operation(
        "cancel_by_number", _by_number(Kind.CANCEL), CLAIMED + DECIDED + COPY, (), (BOOKED, CANCELLED),
        always=(B.WROTE,), echoes=(("cancel", "already_done"),),
    ),
    Operation(
        "reassigned", _reassign, CLAIMED + DECIDED + COPY * 3, (), (BOOKED, MOVED), handed=(TEN,),
        always=(B.WROTE, B.COPY_WROTE),
    ),
]  # fmt: skip
