"""Following writes: bring one calendar to what the appointment is now, or tell an event's owner no (design §5.2, step 5).

They go through the same task as decisions. Their check is that the master, read live in the same attempt, still carries
the appointment as the ledger has it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from models.ledger import Appointment, RemoteLink, Write
from models.session import Sessions, single_statement, transaction
from sync.boundaries import Boundary, cross
from sync.commit.copy_order import CopyOrder, Shown, marked
from sync.commit.lease import hold_on
from sync.commit.links import find_link, link_event, remember
from sync.commit.master import INVISIBLE_ATTEMPTS
from sync.commit.notice import find_made, notice
from sync.commit.outcome import Outcome, Written
from sync.commit.trouble import blamed_on
from sync.domain import CANCELLED_PREFIX, REFUSED_PREFIX, EventDraft, RemoteEvent, RemoteId, Removal
from sync.errors import Contention, KeySpent, NotFound, StaleVersion
from sync.failures import resolve_alert
from sync.ports import CalendarReader, Calendars, CalendarWriter


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
        cross(Boundary.COPY_CHECKED)
        if self._order.action == "mark":
            return self._mark()
        if self._order.draft is not None:
            return self._record(self._show(self._order.draft))
        self._hide()
        return self._record(None)

    def _check(self) -> None:
        """The live read of the master in this attempt (P3)."""
        order = self._order
        with blamed_on(order.master):
            if order.carried is None:
                self._master.read_window(order.interval)
                return
            event = self._master.find_event(order.carried)
        carries = event is not None and event.blocks
        if not order.confirmed and not carries:
            return
        if order.confirmed and event is not None and carries and event.interval == order.interval:
            return
        message = "the master does not carry the appointment as the ledger has it"
        raise StaleVersion(message)

    def _show(self, draft: EventDraft) -> RemoteEvent | None:
        order = self._order
        if order.shown is None:
            event = self._create(draft)
            if order.attempt == 1:
                return event
            # An earlier attempt may have made it, for an older state of the appointment, and may still be about to write:
            # this version outdates whatever that one has seen.
            return self._writer.update(event.remote_id, draft, version=event.version)
        try:
            return self._writer.update(order.shown.remote_id, draft, version=order.shown.version)
        except (StaleVersion, NotFound):
            current = self._reader.find_event(order.shown.remote_id)
            # One that shows it already was written by an earlier attempt, unheard: written once more all the same, so
            # that nobody who saw this very version can still write (docs/adr/0011).
            written = current is not None and draft.is_shown_by(current)
            current = current if written or _is_as_shown(current, order.shown) else None
            self._hold_on()
            return current and self._writer.update(current.remote_id, draft, version=current.version)

    def _create(self, draft: EventDraft) -> RemoteEvent:
        """A fresh key for an event that only does not show yet would make a second one."""
        try:
            return self._writer.create(draft, key=self._order.key)
        except KeySpent as error:
            if self._order.attempt >= INVISIBLE_ATTEMPTS:
                raise
            message = "the copy of our key does not show yet"
            raise StaleVersion(message) from error

    def _hide(self) -> None:
        order = self._order
        shown = order.shown or self._find_unrecorded()
        if shown is None:
            return
        if not shown.ours:
            self._replace(shown, marked(shown, prefix=CANCELLED_PREFIX, why=self._why()))
            return
        try:
            self._writer.delete(shown.remote_id, version=shown.version)
        except StaleVersion:
            current = self._reader.find_event(shown.remote_id)
            self._hold_on()
            if current is not None:
                self._writer.delete(current.remote_id, version=current.version)

    def _why(self) -> str:
        return "the appointment went to somebody else" if self._order.confirmed else "the appointment was cancelled"

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
        return current if _is_as_shown(current, shown) else None

    def _hold_on(self) -> None:
        """The version that a write names is either the ledger's or was read under this lease: a late worker has neither."""
        with single_statement(self._sessions) as session:
            hold_on(session, self._order.write_id, self._order.fence)

    def _remember(self, change: RemoteEvent | Removal) -> None:
        with transaction(self._sessions) as session:
            remember(session, self._order.calendar.id, change)

    def _record(self, event: RemoteEvent | None) -> Outcome:
        order = self._order
        cross(Boundary.COPY_WROTE)
        with transaction(self._sessions) as session:
            appointment = session.get_one(Appointment, order.appointment_id, with_for_update=True)
            link = find_link(session, appointment_id=appointment.id, calendar_id=order.calendar.id)
            if event is not None:
                link_event(session, appointment, link, calendar_id=order.calendar.id, event=event, ours=_ours(link))
            elif link is not None and order.draft is None:
                link.gone = True
                if link.ours:
                    remember(session, order.calendar.id, Removal(RemoteId(link.remote_id)))
            if appointment.version != order.appointment_version:
                _end(session, order, state="due")
                return Written("copied, and out of step again", (f"write:{order.write_id}",))
            _end(session, order, state="done", remote_id=event.remote_id if event else None)
            as_made = order.draft if order.shown is None else None
            seen = find_made(session, order.calendar.id, order.key, event=event, as_made=as_made)
            found = notice(session, order.calendar, appointment.agent_id, seen)
            cross(Boundary.COPY_RECORDING)
        cross(Boundary.COPY_RECORDED)
        return Written("copied" if event is not None else "nothing left to show", found)

    def _finish(self, *, what: str) -> Outcome:
        cross(Boundary.COPY_WROTE)
        with transaction(self._sessions) as session:
            _end(session, self._order, state="done")
            cross(Boundary.COPY_RECORDING)
        cross(Boundary.COPY_RECORDED)
        return Written(what)


def _is_as_shown(current: RemoteEvent | None, shown: Shown) -> bool:
    """Whether the event is there and no person has edited it since; our own mark on it is no edit."""
    if current is None or current.interval != shown.interval:
        return False
    return current.title.removeprefix(REFUSED_PREFIX) == shown.title.removeprefix(REFUSED_PREFIX)


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
    if held is not None:
        resolve_alert(session, f"commit:{order.calendar.id}")
    else:
        message = f"write {order.write_id}: fence {order.fence} is no longer the newest"
        raise Contention(message)
