"""Graph's change feed over calendarView as the emulator serves it (Graph: event-delta.md, delta-query-events.md)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from providers.outlook import emulated_events as events
from providers.outlook.emulated_events import GraphError


class Entry(Protocol):
    """One event as the feed tells it; ``deleted`` also if it lies outside the window."""

    @property
    def id(self) -> str: ...

    @property
    def seq(self) -> float: ...

    @property
    def deleted(self) -> bool: ...

    @property
    def data(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the feed, which is all that a token says: changes after ``after`` up to ``upto`` are still to be shown.

    Within a round the place moves by change number, so an event that changes meanwhile is reported by the next round
    and none is skipped. ``full`` marks a first round, ``lap`` a round that never ends.
    """

    start: str
    end: str
    after: float
    upto: int
    full: bool
    lap: int = 0

    def token(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()

    @property
    def window(self) -> tuple[datetime, datetime]:
        """Raises ValueError: not ISO 8601."""
        return _instant(self.start), _instant(self.end)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows to show and where to go on; ``done`` when this was the round's last page."""

    rows: list[dict[str, Any]]
    place: Place
    done: bool


def read_token(token: str) -> Place:
    """Raises GraphError: not a token of ours, which Graph treats like a lost one."""
    try:
        return Place(**json.loads(base64.urlsafe_b64decode(token.encode())))
    except (ValueError, TypeError):
        raise GraphError(410, "SyncStateNotFound", "The sync state generation is not found.") from None


def served(entries: Sequence[Entry], place: Place, *, size: int, zone: str, take: Callable[..., object]) -> Page:
    """The next page with what is armed: each of the feed's known lies is a fault kind."""
    if place.lap or take("endless_pages"):  # msgraph-sdk-dotnet#3082
        same = page(entries, place, size=size, zone=zone)
        return Page(same.rows, replace(place, lap=place.lap + 1), done=False)
    if take("big_pages"):  # msgraph-sdk-dotnet#3070: 171 rows for 100, then some of them again
        big = page(entries, place, size=2 * size, zone=zone)
        return Page(big.rows, page(entries, place, size=max(1, size // 2), zone=zone).place, done=False)
    true = page(entries, place, size=size, zone=zone)
    return Page(_untrue(true.rows, take=take), true.place, done=true.done)


def _untrue(rows: list[dict[str, Any]], *, take: Callable[..., object]) -> list[dict[str, Any]]:
    live = [row for row in rows if not is_tombstone(row)]
    if live and take("false_removal"):  # docs#6599 and, for ever, docs-contrib#72
        rows = [tombstone(row["id"]) if row is live[0] else row for row in rows]
    if any(row.get("seriesMasterId") for row in live) and take("omitted_series"):  # docs-contrib#7681
        rows = [row for row in rows if not row.get("seriesMasterId")]
    removed = [row for row in rows if is_tombstone(row)]
    if removed and take("series_as_master"):
        rows = [row for row in rows if not (is_tombstone(row) and row["id"].startswith("OID."))]
    if removed and take("drop_deletion"):  # docs-contrib#3853
        rows = [row for row in rows if row is not removed[0]]
    if rows and take("stub_rows"):  # docs-contrib#34
        rows = [row if is_tombstone(row) else events.stub(row) for row in rows]
    if rows and take("duplicate_rows"):  # docs#3121
        rows = [*rows, *rows]
    return rows


def resumed(place: Place, *, upto: int) -> Place:
    """Where a new round starts that continues the one which ended at ``place``."""
    return replace(place, after=place.upto, upto=upto, full=False)


def page(entries: Sequence[Entry], place: Place, *, size: int, zone: str) -> Page:
    """The next ``size`` changes."""
    due = [entry for entry in entries if place.after < entry.seq <= place.upto and _is_reported(entry, place)]
    taken = due[:size]
    done = len(due) <= size
    after = place.upto if done else taken[-1].seq
    return Page([_row(entry, zone=zone) for entry in taken], replace(place, after=after), done=done)


def visible_upto(entries: Sequence[Entry], *, newest: int, hidden: Collection[str]) -> int:
    """The last change number before the first change of an event that is not to be seen yet."""
    return int(min([entry.seq - 1 for entry in entries if entry.id in hidden], default=newest))


def is_tombstone(row: dict[str, Any]) -> bool:
    return "@removed" in row


def tombstone(event_id: str) -> dict[str, Any]:
    return {"@odata.type": "#microsoft.graph.event", "id": event_id, "@removed": {"reason": "deleted"}}


def spoilt(rows: list[dict[str, Any]], *, take: Callable[..., object]) -> list[dict[str, Any]]:
    """With one row that cannot be understood, if that is armed and there is a live row."""
    live = [position for position, row in enumerate(rows) if not is_tombstone(row)]
    for kind, spoil in (("malformed_row", without_time), ("custom_zone", in_custom_zone)):
        if live and take(kind):
            return [*rows[: live[0]], spoil(rows[live[0]]), *rows[live[0] + 1 :]]
    return rows


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    """The row as a vendor's bad day makes it: a null where a time should be."""
    return {**row, "start": {**(row.get("start") or {}), "dateTime": None}}


def in_custom_zone(row: dict[str, Any]) -> dict[str, Any]:
    """The row as a meeting from a zone that its organizer made up, in spite of the zone asked for (node-ical#221)."""
    labels = {side: {**(row.get(side) or {}), "timeZone": "tzone://Microsoft/Custom"} for side in ("start", "end")}
    return {**row, **labels}


def _is_reported(entry: Entry, place: Place) -> bool:
    """A first round lists what is there; later ones report every change, inside the window or not (docs#6599)."""
    return not (place.full and entry.deleted)


def _row(entry: Entry, *, zone: str) -> dict[str, Any]:
    if entry.deleted:
        return tombstone(entry.id)
    shown = events.shown(entry.data, zone=zone)
    return events.stub(shown) if shown.get("type") == "occurrence" else shown


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
