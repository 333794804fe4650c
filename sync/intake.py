"""Proposals come in here, from the jobs and from people. Storing one decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.agents import Agent
from models.proposals import Proposal
from models.session import Sessions, transaction
from sync.changes import Wish
from sync.domain import Attendee, CalendarRef, Interval, Kind, ProposalId, Role
from sync.errors import Malformed, NotFound
from sync.records import dump_attendees


@dataclass(frozen=True, slots=True)
class Request:
    """A person's wish to book, through any system. ``key`` makes a repetition of it harmless."""

    key: str
    agent: str
    interval: Interval
    title: str
    origin: str = "api"
    attendees: tuple[Attendee, ...] = field(default=())
    slot_version: int | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """``created`` is False when the same wish had been received before."""

    id: ProposalId
    created: bool


def receive(sessions: Sessions, request: Request) -> Received:
    """Store the wish once per key.

    Raises:
        NotFound: no such agent.
        Malformed: the key was used before for something else.
    """
    with transaction(sessions) as session:
        agent_id = session.scalar(select(Agent.id).where(Agent.slug == request.agent))
        if agent_id is None:
            message = f"no agent {request.agent!r}"
            raise NotFound(message)
        values = {
            "agent_id": agent_id,
            "kind": Kind.BOOK.value,
            "starts_at": request.interval.start,
            "ends_at": request.interval.end,
            "title": request.title,
            "attendees": dump_attendees(request.attendees),
            "slot_version": request.slot_version,
        }
        created = _insert(session, f"request:{request.key}", origin=request.origin, **values)
        if created is not None:
            return Received(created, created=True)
        row = session.scalars(select(Proposal).where(Proposal.key == f"request:{request.key}")).one()
        if any(getattr(row, name) != value for name, value in values.items()):
            raise Malformed("key", "was used before for a different proposal")
        return Received(ProposalId(row.id), created=False)


def insert_wish(session: Session, wish: Wish, *, ref: CalendarRef, agent_id: int) -> ProposalId | None:
    """Store what a job proposes; None when the same change was proposed before."""
    seen = wish.seen
    interval = seen.interval if wish.kind is not Kind.CANCEL else None
    return _insert(
        session,
        wish.key,
        origin="master" if ref.role is Role.MASTER else ref.provider,
        agent_id=agent_id,
        kind=wish.kind.value,
        calendar_id=ref.id,
        remote_id=seen.remote_id,
        remote_version=seen.version,
        starts_at=interval.start if interval else None,
        ends_at=interval.end if interval else None,
        title=seen.title,
        attendees=dump_attendees(seen.attendees),
    )


def _insert(session: Session, key: str, **values: object) -> ProposalId | None:
    row = (
        insert(Proposal).values(key=key, **values).on_conflict_do_nothing(index_elements=["key"]).returning(Proposal.id)
    )
    inserted = session.scalar(row)
    return ProposalId(inserted) if inserted is not None else None
