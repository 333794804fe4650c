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
from models.queries import LinkRecord, list_links, list_overtaken, list_writes
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
_ON_REFUSAL = select(Calendar.on_refusal).where(Calendar.id == _CALENDAR)
LONGEST_CHAIN = 50  # of events that replace one another; a vendor may tell of a circle


def load_known(session: Session, calendar_id: CalendarId, batch: Sequence[Seen]) -> Known:
    """Links win over proposals as the record of what was last agreed. What cannot matter for this batch is not asked for."""
    if not batch:
        return Known(agreed={}, ours=frozenset(), strays=frozenset())
    ids = [seen.remote_id for seen in batch]
    proposals = _last_proposals(session, calendar_id, ids)
    overtaken = list_overtaken(session, [row.id for row in proposals.values()]) if proposals else set()
    agreed = {
        remote_id: _agreed_by_proposal(row, judged=row.id not in overtaken) for remote_id, row in proposals.items()
    }
    heirs = _heirs(session, calendar_id, batch)
    links = {RemoteId(link.remote_id): link for link in list_links(session, calendar_id, {*ids, *heirs})}
    for carrier, link in links.items():
        if link.live:
            remote_id = heirs.get(carrier, carrier)
            agreed[remote_id] = _agreed_by_link(link, proposals.get(remote_id), inherited=remote_id != carrier)
    made, strays = _by_key(session, calendar_id, batch)
    restored = {seen.remote_id for seen in batch if seen.revived} - links.keys() - strays
    refused = any(not (last.linked or last.open) for last in agreed.values())
    return Known(
        agreed=agreed,
        ours=links.keys() | (made - restored),  # another copy has taken its place; whoever restored it means it
        strays=strays - links.keys(),
        ended={remote_id: link.updated for remote_id, link in links.items() if link.gone},
        answers=not refused or session.scalar(_ON_REFUSAL, {"calendar": calendar_id}) != "leave",
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


def _by_key(session: Session, calendar_id: CalendarId, batch: Sequence[Seen]) -> tuple[set[RemoteId], set[RemoteId]]:
    """Events that writes of ours made, and those of them whose write came to nothing.

    A person who copies our event copies its key too; the copy has another id than the one the write recorded, and is theirs.
    """
    keys = {seen.remote_id: seen.key for seen in batch if seen.key is not None}
    writes = list_writes(session, calendar_id, keys.values()) if keys else {}
    made = {
        remote_id: writes[key]
        for remote_id, key in keys.items()
        if key in writes and writes[key].remote_id in {None, remote_id}
    }
    return set(made), {remote_id for remote_id, write in made.items() if write.vain}
