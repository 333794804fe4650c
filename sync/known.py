"""What the ledger knows of the events in a batch: links, earlier proposals, and writes of ours recognised by key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Integer, Row, bindparam, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from models.agents import Calendar
from models.base import is_among_the
from models.feeds import Sighting
from models.proposals import FINAL_STATES, Proposal
from models.queries import LinkRecord, list_linked_ids, list_links, list_overtaken, list_writes
from sync.changes import Agreed, Known, Seen
from sync.domain import CalendarId, Interval, Kind, RemoteId
from sync.records import load_attendees

_Last = Row[Any]
_LAST = (
    Proposal.id,
    Proposal.remote_id,
    Proposal.state,
    Proposal.starts_at,
    Proposal.ends_at,
    Proposal.title,
    Proposal.attendees,
    Proposal.remote_version,
)
_CALENDAR = bindparam("calendar", type_=Integer)
_LAST_PROPOSALS = (
    select(*_LAST)
    .where(Proposal.calendar_id == _CALENDAR, is_among_the(Proposal.remote_id, "ids"), Proposal.kind != Kind.REPAIR)
    .ext(distinct_on(Proposal.remote_id))
    .order_by(Proposal.remote_id, Proposal.id.desc())
)
_HEIRS = select(Sighting.replaces, Sighting.remote_id, Sighting.deleted).where(
    Sighting.calendar_id == _CALENDAR, Sighting.replaces.is_not(None), is_among_the(Sighting.replaces, "ids")
)
_KEYS = select(Sighting.remote_id, Sighting.key).where(
    Sighting.calendar_id == _CALENDAR, is_among_the(Sighting.remote_id, "ids"), Sighting.key.is_not(None)
)
_ON_REFUSAL = select(Calendar.on_refusal).where(Calendar.id == _CALENDAR)
LONGEST_CHAIN = 50  # of events that replace one another; a vendor may tell of a circle


def load_known(session: Session, calendar_id: CalendarId, batch: Sequence[Seen]) -> Known:
    """Links win over proposals as the record of what was last agreed."""
    ids = [seen.remote_id for seen in batch]
    proposals = _last_proposals(session, calendar_id, ids)
    overtaken = list_overtaken(session, [row.id for row in proposals.values()])
    agreed = {
        remote_id: _agreed_by_proposal(row, judged=row.id not in overtaken) for remote_id, row in proposals.items()
    }
    heirs = _heirs(session, calendar_id, batch)
    for link in list_links(session, calendar_id, [*ids, *heirs]):
        remote_id = heirs.get(RemoteId(link.remote_id), RemoteId(link.remote_id))
        inherited = remote_id != link.remote_id
        agreed[remote_id] = _agreed_by_link(link, proposals.get(remote_id), inherited=inherited)
    links = list_linked_ids(session, calendar_id, ids)
    ended = {RemoteId(remote_id): updated for remote_id, updated in links.items() if updated is not None}
    linked = {RemoteId(remote_id) for remote_id in links}
    made, strays = _by_key(session, calendar_id, ids)
    restored = {seen.remote_id for seen in batch if seen.revived} - linked - strays
    answers = session.scalar(_ON_REFUSAL, {"calendar": calendar_id}) != "leave"
    return Known(
        agreed=agreed,
        ours=linked | (made - restored),  # another copy has taken its place; whoever restored it means it
        strays=strays - linked,
        ended=ended,
        answers=answers,
        replaced=_replaced(session, calendar_id, ids, hops=LONGEST_CHAIN),
    )


def _heirs(session: Session, calendar_id: CalendarId, batch: Sequence[Seen]) -> dict[RemoteId, RemoteId]:
    """Which event of the batch has taken over from which one, at once or through others in between."""
    heirs: dict[RemoteId, RemoteId] = {}
    for seen in batch:
        before = seen.replaces
        while before is not None and before not in heirs and not seen.deleted:
            heirs[before] = seen.remote_id
            row = session.get(Sighting, (calendar_id, before))
            before = RemoteId(row.replaces) if row is not None and row.replaces else None
    return heirs


def _replaced(session: Session, calendar_id: CalendarId, ids: Sequence[RemoteId], *, hops: int) -> set[RemoteId]:
    """Those that live on in another event."""
    rows = session.execute(_HEIRS, {"calendar": calendar_id, "ids": ids}).all()
    ended = [RemoteId(heir) for _, heir, deleted in rows if deleted]
    later = _replaced(session, calendar_id, ended, hops=hops - 1) if ended and hops else set()
    return {RemoteId(before) for before, heir, deleted in rows if before and (not deleted or heir in later)}


def _last_proposals(session: Session, calendar_id: CalendarId, ids: Sequence[RemoteId]) -> dict[RemoteId, _Last]:
    rows = session.execute(_LAST_PROPOSALS, {"calendar": calendar_id, "ids": ids})
    return {RemoteId(row.remote_id): row for row in rows if row.remote_id is not None}


def _is_open(row: _Last) -> bool:
    return row.state not in FINAL_STATES


def _agreed_by_proposal(row: _Last, *, judged: bool = True) -> Agreed:
    return Agreed(
        linked=False,
        open=_is_open(row),
        interval=Interval(row.starts_at, row.ends_at) if judged and row.starts_at and row.ends_at else None,
        title=row.title,
        attendees=load_attendees(row.attendees),
        version=row.remote_version,
    )


def _agreed_by_link(link: LinkRecord, last: _Last | None, *, inherited: bool) -> Agreed:
    """While a proposal about the event is undecided, a change is measured against that proposal: moving back is news."""
    agreed = Agreed(
        linked=True,
        open=False,
        interval=Interval(link.starts_at, link.ends_at),
        updated=link.updated,
        title=link.title,
        attendees=load_attendees(link.attendees),
        inherited=inherited,
    )
    if last is None or not _is_open(last):
        return agreed
    return replace(_agreed_by_proposal(last), linked=True, updated=link.updated)


def _by_key(session: Session, calendar_id: CalendarId, ids: Sequence[RemoteId]) -> tuple[set[RemoteId], set[RemoteId]]:
    """Events that writes of ours made, and those of them whose write came to nothing.

    A person who copies our event copies its key too; the copy has another id than the one the write recorded, and is theirs.
    """
    rows = session.execute(_KEYS, {"calendar": calendar_id, "ids": ids})
    keys = {RemoteId(remote_id): key for remote_id, key in rows if key is not None}
    writes = list_writes(session, calendar_id, list(keys.values()))
    made = {
        remote_id: writes[key]
        for remote_id, key in keys.items()
        if key in writes and writes[key].remote_id in {None, remote_id}
    }
    return set(made), {remote_id for remote_id, write in made.items() if write.vain}
