"""Receiving wishes: from the jobs, and from people through the API, the booking page or a form."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.agents import Agent
from models.base import is_among_the
from models.proposals import Proposal
from models.queries import find_owner
from models.session import Sessions, transaction
from sync.changes import Wish
from sync.domain import Attendee, CalendarRef, Interval, Kind, ProposalId, Role
from sync.errors import Malformed, NotFound
from sync.records import dump_attendees

HOLD_SECONDS = 300
LONGEST_HOLD_SECONDS = 3600
AT_ONCE = 500  # proposals of one statement

_KNOWN = select(Proposal.key).where(is_among_the(Proposal.key, "keys"))
_PROPOSE = insert(Proposal).on_conflict_do_nothing(index_elements=["key"]).returning(Proposal.key, Proposal.id)
_AGENT = select(Agent.id).where(Agent.slug == bindparam("agent"))


@dataclass(frozen=True, slots=True)
class Request:
    """A person's wish, through any system. ``key`` makes a repetition of it harmless.

    A booking or a hold names its agent; a move or a cancellation its ``appointment``, and a move also the agent if
    somebody else should take it. ``hold`` is the secret of the hold that a booking converts or a cancellation releases.
    ``slot_version`` is the version of the slot that the caller saw.
    """

    key: str
    agent: str | None = None
    interval: Interval | None = None
    title: str = ""
    origin: str = "api"
    attendees: tuple[Attendee, ...] = field(default=())
    slot_version: int | None = None
    kind: Kind = Kind.BOOK
    appointment: int | None = None
    hold: str | None = None
    hold_seconds: int = HOLD_SECONDS


@dataclass(frozen=True, slots=True)
class Received:
    """``created`` is False when the same wish had been received before. ``hold`` proves whose hold it is."""

    id: ProposalId
    created: bool
    hold: str | None = None


def receive(sessions: Sessions, request: Request) -> Received:
    """Store the wish once per key.

    Raises:
        NotFound: no such agent, appointment or hold.
        Malformed: the key was used before for something else; or a field is missing or out of range.
    """
    _check(request)
    with transaction(sessions) as session:
        values = _values(session, request)
        secret = secrets.token_urlsafe(16) if request.kind is Kind.HOLD else request.hold
        created = _insert(session, f"request:{request.key}", origin=request.origin, hold=secret, **values)
        if created is not None:
            return Received(created, created=True, hold=secret)
        row = session.scalars(select(Proposal).where(Proposal.key == f"request:{request.key}")).one()
        said = values if request.kind is Kind.HOLD else values | {"hold": secret}
        # Whose appointment it is may have changed since, and the row then says so.
        if any(getattr(row, name) != value for name, value in said.items() if name != "agent_id" or request.agent):
            raise Malformed("key", "was used before for a different proposal")
        return Received(ProposalId(row.id), created=False, hold=row.hold)


def _check(request: Request) -> None:
    if request.key.startswith("form:") and not request.origin.startswith("form:"):
        raise Malformed("key", "may not begin with form:")
    changes = request.kind in {Kind.MOVE, Kind.CANCEL}
    if request.interval is None and request.kind is not Kind.CANCEL:
        raise Malformed("start", "is missing")
    if request.agent is None and not changes:
        raise Malformed("agent", "is missing")
    if changes and request.appointment is None and request.hold is None:
        raise Malformed("appointment", "is missing")
    if not 1 <= request.hold_seconds <= LONGEST_HOLD_SECONDS:
        raise Malformed("seconds", f"is not between 1 and {LONGEST_HOLD_SECONDS}")


def _values(session: Session, request: Request) -> dict[str, Any]:
    interval = request.interval
    return {
        "agent_id": _agent_id(session, request),
        "kind": request.kind.value,
        "appointment_id": request.appointment,
        "starts_at": interval.start if interval else None,
        "ends_at": interval.end if interval else None,
        "title": request.title,
        "attendees": dump_attendees(request.attendees),
        "slot_version": request.slot_version,
        "hold_seconds": request.hold_seconds if request.kind is Kind.HOLD else None,
    }


def _agent_id(session: Session, request: Request) -> int:
    """Whose time is wanted: the named agent's, else that of whoever has the appointment or the hold."""
    owner = None
    if request.appointment is not None and (owner := find_owner(session, request.appointment)) is None:
        message = f"no appointment {request.appointment}"
        raise NotFound(message)
    if request.agent is None and owner is None:
        owner = session.scalar(
            select(Proposal.agent_id).where(Proposal.kind == Kind.HOLD.value, Proposal.hold == request.hold)
        )
        if owner is None:
            raise NotFound("no such hold")
    if request.agent is None and owner is not None:
        return owner
    agent_id = session.scalar(_AGENT, {"agent": request.agent})
    if agent_id is None:
        message = f"no agent {request.agent!r}"
        raise NotFound(message)
    return agent_id


def insert_wish(session: Session, wish: Wish, *, ref: CalendarRef, agent_id: int) -> ProposalId | None:
    """As ``insert_wishes``, for one."""
    return insert_wishes(session, [wish], ref=ref, agent_id=agent_id)[0]


def insert_wishes(
    session: Session, wishes: Sequence[Wish], *, ref: CalendarRef, agent_id: int
) -> list[ProposalId | None]:
    """Store what a job proposes, in this order; None for each change that was proposed before.

    That is looked up first: an insert that meets its key waits for whoever is deciding that proposal, who may be waiting
    for the calendar's lock, which we hold.
    """
    some = (wishes[begin : begin + AT_ONCE] for begin in range(0, len(wishes), AT_ONCE))
    return [inserted for batch in some for inserted in _insert_wishes(session, batch, ref=ref, agent_id=agent_id)]


def _insert_wishes(
    session: Session, wishes: Sequence[Wish], *, ref: CalendarRef, agent_id: int
) -> list[ProposalId | None]:
    keys = [wish.key for wish in wishes]
    before = set(session.scalars(_KNOWN, {"keys": keys}))
    fresh = {key: wish for key, wish in zip(keys, wishes, strict=True) if key not in before}
    rows = [{"key": key, "agent_id": agent_id, **_wished(wish, ref)} for key, wish in fresh.items()]
    if not rows:
        return [None] * len(keys)
    inserted = {key: ProposalId(number) for key, number in session.connection().execute(_PROPOSE, rows)}
    return [inserted.pop(key, None) for key in keys]


def _wished(wish: Wish, ref: CalendarRef) -> dict[str, object]:
    seen = wish.seen
    interval = seen.interval if wish.kind is not Kind.CANCEL else None
    return {
        "origin": "master" if ref.role is Role.MASTER else ref.provider,
        "kind": wish.kind.value,
        "calendar_id": ref.id,
        "remote_id": seen.remote_id,
        "remote_version": seen.version,
        "starts_at": interval.start if interval else None,
        "ends_at": interval.end if interval else None,
        "title": seen.title,
        "attendees": dump_attendees(seen.attendees),
    }


def insert_repair(session: Session, key: str, *, agent_id: int, **about: object) -> ProposalId | None:
    """Store what an audit wants put right (``appointment_id``, or an event as it saw it); None if it was asked for before."""
    return _insert(session, key, origin="audit", kind=Kind.REPAIR.value, agent_id=agent_id, **about)


def _insert(session: Session, key: str, **values: object) -> ProposalId | None:
    row = (
        insert(Proposal).values(key=key, **values).on_conflict_do_nothing(index_elements=["key"]).returning(Proposal.id)
    )
    inserted = session.scalar(row)
    return ProposalId(inserted) if inserted is not None else None
