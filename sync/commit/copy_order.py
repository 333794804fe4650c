"""What a following write in hand hands from step to step: values only, no row outlives its transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.base import UtcDateTime, is_among_the
from models.ledger import Appointment, RemoteLink, Write
from models.proposals import Proposal
from sync.commit.links import draft_for
from sync.commit.order import LEASE_SECONDS, master_of, wanted_of
from sync.commit.outbox import is_shown
from sync.commit.outcome import Outcome, Skipped
from sync.domain import REFUSED_PREFIX, CalendarRef, EventDraft, Interval, Reason, RemoteId, Role, WriteKey
from sync.errors import NotFound
from sync.records import calendar_ref

REASONS = {
    Reason.SLOT_TAKEN: "another appointment has this time",
    Reason.MASTER_BUSY: "the main calendar is busy at this time",
    Reason.MASTER_UNREADABLE: "the main calendar could not be read, so the time could not be confirmed",
    Reason.REJECTED: "the main calendar refused the appointment",
    Reason.GONE: "it was removed from the main calendar",
}

_WRITE = (
    select(Write, Calendar, Agent, func.clock_timestamp(type_=UtcDateTime()))
    .join(Calendar, Calendar.id == Write.calendar_id)
    .join(Agent, Agent.id == Calendar.agent_id)
    .where(Write.id == bindparam("write"))
    .with_for_update(of=Write)
)
_LINKS = select(RemoteLink).where(
    RemoteLink.appointment_id == bindparam("appointment"), is_among_the(RemoteLink.calendar_id, "calendars")
)


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
    confirmed: bool
    draft: EventDraft | None
    carried: RemoteId | None
    interval: Interval
    shown: Shown | None


def claim_write(session: Session, write_id: int) -> CopyOrder | Outcome:
    """Take a following write in hand.

    Raises:
        NotFound: no such write.
    """
    found = session.execute(_WRITE, {"write": write_id}).one_or_none()
    if found is None:
        message = f"no write {write_id}"
        raise NotFound(message)
    write, calendar, agent, now = found
    if write.state != "due":
        return Skipped(f"already {write.state}")
    if write.not_before > now or (write.leased_until is not None and write.leased_until > now):
        return Skipped("not due yet, or in another worker's hands")
    write.fence, write.attempt = write.fence + 1, write.attempt + 1
    write.leased_until = now + timedelta(seconds=LEASE_SECONDS)
    make = _mark_order if write.action == "mark" else _copy_order
    return make(session, write, calendar, calendar_ref(calendar, agent))


def _copy_order(session: Session, write: Write, calendar: Calendar, ref: CalendarRef) -> CopyOrder:
    appointment = session.get_one(Appointment, write.appointment_id)
    master, _ = master_of(session, appointment.agent_id)
    asked = {"appointment": appointment.id, "calendars": [master.id, calendar.id]}
    links = {link.calendar_id: link for link in session.scalars(_LINKS, asked)}
    carrier, link = links.get(master.id), links.get(calendar.id)
    shown = _shown(link) if link is not None and not link.gone else None
    # A source shows only what was made there: what is gone from it is never made anew.
    here = is_shown(appointment, calendar) and (shown is not None or calendar.role != Role.SOURCE.value)
    return CopyOrder(
        write_id=write.id,
        fence=write.fence,
        attempt=write.attempt,
        key=WriteKey(write.key),
        action="copy",
        calendar=ref,
        master=master,
        appointment_id=appointment.id,
        appointment_version=appointment.version,
        confirmed=appointment.state == "confirmed",
        draft=draft_for(appointment, calendar, ours=shown is None or shown.ours) if here else None,
        carried=RemoteId(carrier.remote_id) if carrier is not None else None,
        interval=Interval(appointment.starts_at, appointment.ends_at),
        shown=shown,
    )


def _mark_order(session: Session, write: Write, calendar: Calendar, ref: CalendarRef) -> CopyOrder:
    proposal = session.get_one(Proposal, write.proposal_id)
    master, _ = master_of(session, proposal.agent_id)
    interval = wanted_of(proposal)
    shown = Shown(RemoteId(str(write.remote_id)), write.remote_version or "", interval, proposal.title, ours=False)
    delete = calendar.on_refusal == "delete"
    return CopyOrder(
        write_id=write.id,
        fence=write.fence,
        attempt=write.attempt,
        key=WriteKey(write.key),
        action="mark",
        calendar=ref,
        master=master,
        appointment_id=None,
        appointment_version=0,
        confirmed=False,
        draft=None if delete else marked(shown, prefix=REFUSED_PREFIX, why=REASONS[Reason(write.reason or "")]),
        carried=None,
        interval=interval,
        shown=shown,
    )


def _shown(link: RemoteLink) -> Shown:
    return Shown(
        RemoteId(link.remote_id), link.version, Interval(link.starts_at, link.ends_at), link.title, ours=link.ours
    )


def marked(shown: Shown, *, prefix: str, why: str) -> EventDraft:
    """A person's own event, kept where it is, shown as free, with the reason (nobody's data is deleted by default)."""
    return EventDraft(
        shown.interval, prefix + shown.title.removeprefix(prefix), blocks=False, note=f"watertight: {why}."
    )
