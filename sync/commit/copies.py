"""Following writes: bring one calendar to what the appointment is now, or tell an event's owner no (design §5.2, step 5).

They go through the same task as decisions. Their check is that the master, read live in the same attempt, still carries
the appointment as the ledger has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.feeds import Sighting
from models.ledger import Appointment, RemoteLink, Write
from models.proposals import Proposal
from models.session import Sessions, database_now, transaction
from sync.commit.links import draft_for, find_link, link_event, remember
from sync.commit.order import LEASE_SECONDS, master_of
from sync.commit.outcome import Outcome, Skipped, Written
from sync.domain import (
    CalendarRef,
    EventDraft,
    Interval,
    Reason,
    RemoteEvent,
    RemoteId,
    Removal,
    WriteKey,
)
from sync.errors import Contention, NotFound, StaleVersion
from sync.ports import CalendarReader, Calendars, CalendarWriter
from sync.records import calendar_ref

REFUSED_PREFIX = "[not booked] "
CANCELLED_PREFIX = "[cancelled] "
REASONS = {
    Reason.SLOT_TAKEN: "another appointment has this time",
    Reason.MASTER_BUSY: "the main calendar is busy at this time",
    Reason.MASTER_UNREADABLE: "the main calendar could not be read, so the time could not be confirmed",
    Reason.REJECTED: "the main calendar refused the appointment",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the calendar's event was last known to show."""

    remote_id: RemoteId
    version: str
    interval: Interval
    title: str
    ours: bool


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """A following write in hand. ``draft`` is None when the calendar should show nothing."""

    write_id: int
    fence: int
    attempt: int
    key: WriteKey
    action: str
    calendar: CalendarRef
    master: CalendarRef
    appointment_id: int | None
    appointment_version: int
    draft: EventDraft | None
    carried: RemoteId | None
    interval: Interval
    shown: Shown | None


def claim_write(session: Session, write_id: int) -> CopyOrder | Outcome:
    """Take a following write in hand.

    Raises:
        NotFound: no such write.
    """
    write = session.scalars(select(Write).where(Write.id == write_id).with_for_update()).one_or_none()
    if write is None:
        message = f"no write {write_id}"
        raise NotFound(message)
    now = database_now(session)
    if write.state != "due":
        return Skipped(f"already {write.state}")
    if write.not_before > now or (write.leased_until is not None and write.leased_until > now):
        return Skipped("not due yet, or in another worker's hands")
    write.fence, write.attempt = write.fence + 1, write.attempt + 1
    write.leased_until = now + timedelta(seconds=LEASE_SECONDS)
    return _mark_order(session, write) if write.action == "mark" else _copy_order(session, write)


def _copy_order(session: Session, write: Write) -> CopyOrder:
    appointment = session.get_one(Appointment, write.appointment_id)
    calendar = session.get_one(Calendar, write.calendar_id)
    master, _ = master_of(session, appointment.agent_id)
    carrier = find_link(session, appointment_id=appointment.id, calendar_id=master.id)
    link = find_link(session, appointment_id=appointment.id, calendar_id=calendar.id)
    shown = _shown(link) if link is not None and not link.gone else None
    confirmed = appointment.state == "confirmed"
    return CopyOrder(
        write_id=write.id,
        fence=write.fence,
        attempt=write.attempt,
        key=WriteKey(write.key),
        action="copy",
        calendar=calendar_ref(calendar, session.get_one(Agent, calendar.agent_id)),
        master=master,
        appointment_id=appointment.id,
        appointment_version=appointment.version,
        draft=draft_for(appointment, calendar, ours=shown is None or shown.ours) if confirmed else None,
        carried=RemoteId(carrier.remote_id) if carrier is not None else None,
        interval=Interval(appointment.starts_at, appointment.ends_at),
        shown=shown,
    )


def _mark_order(session: Session, write: Write) -> CopyOrder:
    proposal = session.get_one(Proposal, write.proposal_id)
    calendar = session.get_one(Calendar, write.calendar_id)
    master, _ = master_of(session, proposal.agent_id)
    row = session.get_one(Sighting, (write.calendar_id, write.remote_id))
    interval = Interval(row.starts_at or proposal.created_at, row.ends_at or proposal.created_at + timedelta(minutes=1))
    shown = Shown(RemoteId(str(write.remote_id)), write.remote_version or "", interval, row.title, ours=False)
    delete = calendar.on_refusal == "delete"
    return CopyOrder(
        write_id=write.id,
        fence=write.fence,
        attempt=write.attempt,
        key=WriteKey(write.key),
        action="mark",
        calendar=calendar_ref(calendar, session.get_one(Agent, calendar.agent_id)),
        master=master,
        appointment_id=None,
        appointment_version=0,
        draft=None if delete else _marked(shown, prefix=REFUSED_PREFIX, why=REASONS[Reason(write.reason or "")]),
        carried=None,
        interval=interval,
        shown=shown,
    )


def _shown(link: RemoteLink) -> Shown:
    return Shown(
        RemoteId(link.remote_id), link.version, Interval(link.starts_at, link.ends_at), link.title, ours=link.ours
    )


def _marked(shown: Shown, *, prefix: str, why: str) -> EventDraft:
    """A person's own event, kept where it is, shown as free, with the reason (nobody's data is deleted by default)."""
    return EventDraft(shown.interval, prefix + shown.title.removeprefix(prefix), f"watertight: {why}.", blocks=False)


class CopyRun:
    """One attempt at a following write."""

    def __init__(self, sessions: Sessions, calendars: Calendars, order: CopyOrder) -> None:
        self._sessions = sessions
        self._order = order
        self._master = calendars.reader(order.master)
        self._reader: CalendarReader = calendars.reader(order.calendar)
        self._writer: CalendarWriter = calendars.writer(order.calendar)

    def carry_out(self) -> Outcome:
        """Check the master, write, record.

        Raises:
            NeedsReread: the master or the copy is not as the ledger has it yet.
            WatertightError: as the vendor says.
        """
        self._check()
        if self._order.action == "mark":
            return self._mark()
        if self._order.draft is not None:
            return self._record(self._show(self._order.draft))
        self._hide()
        return self._record(None)

    def _check(self) -> None:
        """The live read of the master in this attempt (P3)."""
        order = self._order
        if order.carried is None:
            self._master.read_window(order.interval)
            return
        event = self._master.find_event(order.carried)
        carries = event is not None and event.blocks
        if order.draft is None and not carries:
            return
        if order.draft is not None and event is not None and carries and event.interval == order.interval:
            return
        message = "the master does not carry the appointment as the ledger has it"
        raise StaleVersion(message)

    def _show(self, draft: EventDraft) -> RemoteEvent | None:
        order = self._order
        if order.shown is None:
            return self._writer.create(draft, key=order.key)
        try:
            return self._writer.update(order.shown.remote_id, draft, version=order.shown.version)
        except (StaleVersion, NotFound):
            current = self._unless_edited(order.shown)
            return current and self._writer.update(current.remote_id, draft, version=current.version)

    def _hide(self) -> None:
        order = self._order
        shown = order.shown or self._find_unrecorded()
        if shown is None:
            return
        if not shown.ours:
            self._replace(shown, _marked(shown, prefix=CANCELLED_PREFIX, why="the appointment was cancelled"))
            return
        try:
            self._writer.delete(shown.remote_id, version=shown.version)
        except StaleVersion:
            current = self._reader.find_event(shown.remote_id)
            if current is not None:
                self._writer.delete(current.remote_id, version=current.version)

    def _find_unrecorded(self) -> Shown | None:
        """An event that an earlier attempt made without hearing so."""
        event = self._reader.find_by_key(self._order.key) if self._order.attempt > 1 else None
        return Shown(event.remote_id, event.version, event.interval, event.title, ours=True) if event else None

    def _mark(self) -> Outcome:
        shown = self._order.shown
        if shown is not None:
            self._replace(shown, self._order.draft)
        return self._finish(what="answered")

    def _replace(self, shown: Shown, draft: EventDraft | None) -> None:
        """Change or delete a person's event unless they have changed or deleted it since: then their newer wish counts."""
        current = self._unless_edited(shown)
        if current is None:
            return
        if draft is None:
            self._writer.delete(current.remote_id, version=current.version)
        else:
            self._remember(self._writer.update(current.remote_id, draft, version=current.version))

    def _unless_edited(self, shown: Shown) -> RemoteEvent | None:
        current = self._reader.find_event(shown.remote_id)
        if current is None or (current.interval, current.title) != (shown.interval, shown.title):
            return None
        return current

    def _remember(self, change: RemoteEvent | Removal) -> None:
        with transaction(self._sessions) as session:
            remember(session, self._order.calendar.id, change)

    def _record(self, event: RemoteEvent | None) -> Outcome:
        order = self._order
        with transaction(self._sessions) as session:
            appointment = session.get_one(Appointment, order.appointment_id, with_for_update=True)
            link = find_link(session, appointment_id=appointment.id, calendar_id=order.calendar.id)
            if event is not None:
                link_event(session, appointment, calendar_id=order.calendar.id, event=event, ours=_ours(link))
            elif link is not None and order.draft is None:
                link.gone = True
                if link.ours:
                    remember(session, order.calendar.id, Removal(RemoteId(link.remote_id)))
            if appointment.version != order.appointment_version:
                _end(session, order, state="due")
                return Written("copied, and out of step again", (f"write:{order.write_id}",))
            _end(session, order, state="done", remote_id=event.remote_id if event else None)
        return Written("copied" if event is not None else "nothing left to show")

    def _finish(self, *, what: str) -> Outcome:
        with transaction(self._sessions) as session:
            _end(session, self._order, state="done")
        return Written(what)


def _ours(link: RemoteLink | None) -> bool:
    """A link that is gone is replaced by a copy of ours."""
    return link is None or link.gone or link.ours


def _end(session: Session, order: CopyOrder, *, state: str, remote_id: str | None = None) -> None:
    values: dict[str, Any] = {"state": state, "leased_until": None}
    if state == "done":
        values |= {"finished_at": func.clock_timestamp()}
    if remote_id is not None:
        values |= {"remote_id": remote_id}
    held = session.execute(
        update(Write)
        .where(Write.id == order.write_id, Write.fence == order.fence, Write.state == "due")
        .values(**values)
        .returning(Write.id)
    ).one_or_none()
    if held is None:
        message = f"write {order.write_id}: fence {order.fence} is no longer the newest"
        raise Contention(message)
