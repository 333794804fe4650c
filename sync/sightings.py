"""The newest state of every event of a calendar: looked up, and moved on, many at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, bindparam, insert, select
from sqlalchemy.orm import Session

from models.base import is_among_the
from models.feeds import Sighting
from sync.changes import Seen, is_newer
from sync.domain import CalendarId, RemoteEvent, RemoteId, Removal
from sync.records import dump_attendees, seen_of, store_sighting

AT_ONCE = 500  # rows of one statement: what they take as parameters is several times what they hold

# Without the rows' own objects: a full read looks at every event, and changes few.
_SEEN = [Sighting.__table__.c[name] for name in Seen.__dataclass_fields__ if name != "interval"]
_SEEN += [Sighting.__table__.c.starts_at, Sighting.__table__.c.ends_at]
_HERE = Sighting.calendar_id == bindparam("calendar")
_THESE = is_among_the(Sighting.remote_id, "ids")
_SEEN_HERE = select(*_SEEN).where(_HERE)
_THESE_SEEN = _SEEN_HERE.where(_THESE)
_ROWS = select(Sighting).where(_HERE, _THESE)
_FIRST = insert(Sighting)


def list_seen(
    session: Session,
    calendar_id: CalendarId,
    *,
    ids: Collection[RemoteId] | None = None,
    where: Sequence[ColumnElement[bool]] = (),
) -> list[Seen]:
    """The events of a calendar as they are stored; with ``ids`` those alone."""
    if ids is None:
        rows = session.execute(_SEEN_HERE.where(*where), {"calendar": calendar_id})
    else:
        rows = session.execute(_THESE_SEEN.where(*where), {"calendar": calendar_id, "ids": list(ids)})
    return [seen_of(row) for row in rows]


def merge_changes(
    session: Session, calendar_id: CalendarId, changes: Mapping[RemoteId, RemoteEvent | Removal]
) -> tuple[list[Seen], set[RemoteId]]:
    """Store what is newer than what is stored. The answer is how all of these stand now, and which of them are news to us.

    The caller holds the calendar's lock.
    """
    before = {seen.remote_id: seen for seen in list_seen(session, calendar_id, ids=changes.keys())}
    newer = {name: change for name, change in changes.items() if is_newer(change, before.get(name))}
    made = [change for name, change in newer.items() if name not in before and isinstance(change, RemoteEvent)]
    _insert(session, calendar_id, made)
    moved = _move(session, calendar_id, newer, known=before)
    news = {
        name
        for name, change in newer.items()
        if name not in before or not before[name].deleted or isinstance(change, RemoteEvent)
    }
    return list({**before, **{event.remote_id: _seen_first(event) for event in made}, **moved}.values()), news


def _move(
    session: Session,
    calendar_id: CalendarId,
    newer: Mapping[RemoteId, RemoteEvent | Removal],
    *,
    known: Collection[RemoteId],
) -> dict[RemoteId, Seen]:
    """What was seen before, and what is seen only when it is gone."""
    due = {name: change for name, change in newer.items() if name in known or isinstance(change, Removal)}
    if not due:
        return {}
    found = session.scalars(_ROWS, {"calendar": calendar_id, "ids": list(due)})
    rows = {RemoteId(row.remote_id): row for row in found}
    for name, change in due.items():
        rows[name] = store_sighting(session, calendar_id, change, row=rows.get(name))
    session.flush()
    return {name: seen_of(row) for name, row in rows.items()}


def _insert(session: Session, calendar_id: CalendarId, events: Sequence[RemoteEvent]) -> None:
    for begin in range(0, len(events), AT_ONCE):
        rows = [_first_row(calendar_id, event) for event in events[begin : begin + AT_ONCE]]
        session.connection().execute(_FIRST, rows)


def _first_row(calendar_id: CalendarId, event: RemoteEvent) -> dict[str, object]:
    """As ``store_sighting`` stores an event that nobody has seen before."""
    return {
        "calendar_id": calendar_id,
        "remote_id": event.remote_id,
        "version": event.version,
        "updated": event.updated,
        "starts_at": event.interval.start,
        "ends_at": event.interval.end,
        "blocks": event.blocks,
        "title": event.title,
        "attendees": dump_attendees(event.attendees),
        "key": event.key,
        "replaces": event.replaces,
        "series_id": event.series_id,
    }


def _seen_first(event: RemoteEvent) -> Seen:
    return Seen(
        remote_id=event.remote_id,
        version=event.version,
        updated=event.updated,
        interval=event.interval,
        blocks=event.blocks,
        deleted=False,
        title=event.title,
        attendees=event.attendees,
        replaces=event.replaces,
        series_id=event.series_id,
        key=event.key,
    )
