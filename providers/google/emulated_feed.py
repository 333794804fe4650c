"""events.list as the emulator answers it: filters, pages, sync tokens, and the ways in which a list can lie.

Source: ``calendar.v3.json`` revision 20261030 (events.list) and developers.google.com/workspace/calendar/api/guides/sync.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from providers.google.emulated_event import Refusal, minimal, span
from providers.google.emulated_series import Row, Window

_NEVER = "1970-01-01T00:00:00.000Z"
_DEFAULT_ROWS = 250
_MOST_ROWS = 2500

# Not part of the question (the discovery document's global parameters), and the tokens themselves.
_NOT_ASKED = frozenset(
    {"alt", "prettyPrint", "fields", "key", "quotaUser", "userIp", "access_token", "oauth_token", "callback"}
    | {"upload_protocol", "uploadType", "$.xgafv", "pageToken"}
)
_NOT_WITH_SYNC = frozenset(
    {"iCalUID", "orderBy", "privateExtendedProperty", "q", "sharedExtendedProperty", "timeMin", "timeMax", "updatedMin"}
)
_NO_TOKEN_FOR = _NOT_WITH_SYNC - {"timeMin", "timeMax"}

LIES = (
    *("duplicate_rows", "malformed_row", "no_sync_token", "no_tombstones", "cancelled_rows"),
    *("partial_page", "empty_page", "endless_pages"),
)

Query = Mapping[str, Sequence[str]]


def list_page(query: Query, rows: Sequence[Row], *, seq: int) -> dict[str, Any]:
    """One page. ``seq`` is the number of the calendar's last visible change; ``rows`` are in the order of change.

    Raises:
        Refusal: 400 for parameters that Google refuses.
    """
    start = _start(query, seq=seq)
    size = _size(query)
    found = [row for row in _sorted(query, rows) if _wanted(query, row, since=start["since"])]
    ordered = "orderBy" in query
    rest = found[start["after"] :] if ordered else [row for row in found if row.seq > start["after"]]
    shown, more = rest[:size], rest[size:]
    page: dict[str, Any] = {
        "kind": "calendar#events",
        "etag": f'"p{seq}"',
        "summary": "calendar",
        "updated": max((_updated(row) for row in rows), default=_NEVER),
        "timeZone": "UTC",
        "accessRole": "owner",
        "defaultReminders": [],
        "items": [minimal(row.data) if row.deleted else row.data for row in shown],
    }
    if more:
        after = start["after"] + size if ordered else shown[-1].seq
        page["nextPageToken"] = _pack({**start, "after": after})
    elif not _NO_TOKEN_FOR & set(query):
        page["nextSyncToken"] = _pack(
            {"kind": "sync", "seq": start["upto"], "hash": _sync_hash(query), "span": start["span"]}
        )
    return page


def spoilt(kind: str, page: dict[str, Any], *, query: Query, seq: int) -> dict[str, Any]:
    """The page with one of the reported lies in it (docs/lies.md)."""
    items = _spoilt_rows(kind, page["items"], full="syncToken" not in query)
    without_tokens = {name: value for name, value in page.items() if not name.startswith("next")}
    match kind:
        case "no_sync_token":
            return {name: value for name, value in page.items() if name != "nextSyncToken"}
        case "partial_page":
            return {**without_tokens, "items": items[: len(items) // 2]}
        case "empty_page":
            again = _pack({**_start(query, seq=seq), "nonce": secrets.token_hex(4)})
            return {**without_tokens, "items": [], "nextPageToken": again}
        case "endless_pages":  # the token remembers, so that one armed fault spoils the whole round
            again = _pack({**_start(query, seq=seq), "nonce": secrets.token_hex(4), "endless": True})
            return {**without_tokens, "nextPageToken": again}
        case _:
            return {**page, "items": items}


def _spoilt_rows(kind: str, items: list[dict[str, Any]], *, full: bool) -> list[dict[str, Any]]:
    match kind:
        case "duplicate_rows":
            return [row for row in items for _ in range(2)]
        case "malformed_row":
            return _with_malformed(items)
        case "no_tombstones" if full:  # twentyhq/twenty#24096
            return [row for row in items if row.get("status") != "cancelled"]
        case "cancelled_rows":  # GAS-ICS-Sync#315: in spite of showDeleted=false
            return [*items, {"kind": "calendar#event", "id": "cancelledrow", "status": "cancelled"}]
        case _:
            return items


def asked_window(query: Query) -> Window | None:
    """The window that series are cut to; a sync token remembers the one it was opened with. None if there is none.

    Raises:
        Refusal: 400, a token or a time that cannot be read.
    """
    start, end = _start(query, seq=0)["span"]
    try:
        return (datetime.fromisoformat(start), datetime.fromisoformat(end)) if start and end else None
    except ValueError:
        raise Refusal(400, "badRequest", "Bad Request", location="timeMin") from None


def is_expanded(query: Query) -> bool:
    return _one(query, "singleEvents") == "true"


def is_endless(query: Query) -> bool:
    token = _one(query, "pageToken")
    return token is not None and bool(_unpack(token, "pageToken").get("endless"))


def _with_malformed(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for position, row in enumerate(items):
        if row.get("status") != "cancelled":
            return [*items[:position], {**row, "start": None}, *items[position + 1 :]]
    return [*items, {"kind": "calendar#event", "id": "malformedrow", "status": "confirmed", "start": None}]


def _start(query: Query, *, seq: int) -> dict[str, Any]:
    """Where this page begins: ``since`` (changes after), ``after`` (rows already shown), ``upto`` (for the sync token)."""
    _check(query)
    since: int | None = None  # 0 is a token of an empty calendar
    span_asked = [_one(query, "timeMin"), _one(query, "timeMax")]
    if token := _one(query, "syncToken"):
        sync = _unpack(token, "syncToken")
        if sync.get("kind") != "sync" or sync["hash"] != _sync_hash(query):
            raise Refusal(400, "invalid", "Sync token does not match the other parameters.", location="syncToken")
        since, span_asked = sync["seq"], sync.get("span") or span_asked
    whole = _hash(query, without=frozenset())
    if token := _one(query, "pageToken"):
        page = _unpack(token, "pageToken")
        if page.get("kind") != "page" or page["hash"] != whole:
            raise Refusal(400, "invalid", "Invalid page token value.", location="pageToken")
        return page
    return {"kind": "page", "hash": whole, "since": since, "after": 0, "upto": seq, "span": span_asked}


def _check(query: Query) -> None:
    if "syncToken" in query:
        for name in sorted(_NOT_WITH_SYNC & set(query)):
            message = f"{name} may not be given together with syncToken."
            raise Refusal(400, "invalid", message, location=name)
        if _one(query, "showDeleted") == "false":
            raise Refusal(400, "invalid", "showDeleted may not be false with syncToken.", location="showDeleted")
    earliest, latest = _instant(query, "timeMin"), _instant(query, "timeMax")
    if earliest and latest and latest <= earliest:
        raise Refusal(400, "timeRangeEmpty", "The specified time range is empty.", domain="calendar")


def _wanted(query: Query, row: Row, *, since: int | None) -> bool:
    if since is not None:
        return row.seq > since
    with_deleted = _one(query, "showDeleted") == "true" or "updatedMin" in query
    return (with_deleted or not row.deleted) and _in_time(query, row.data) and _tagged(query, row.data)


def _in_time(query: Query, data: dict[str, Any]) -> bool:
    updated_min = _instant(query, "updatedMin")
    if updated_min and datetime.fromisoformat(data.get("updated") or _NEVER) < updated_min:
        return False
    both = span(data)
    if both is None:
        return True  # a planted oddity: nobody can say that it is outside
    earliest, latest = _instant(query, "timeMin"), _instant(query, "timeMax")
    return (earliest is None or both[1] > earliest) and (latest is None or both[0] < latest)


def _tagged(query: Query, data: dict[str, Any]) -> bool:
    private = (data.get("extendedProperties") or {}).get("private") or {}
    tags = (tag.partition("=") for tag in query.get("privateExtendedProperty", ()))
    if any(private.get(name) != value for name, _, value in tags):
        return False
    if (uid := _one(query, "iCalUID")) and data.get("iCalUID") != uid:
        return False
    text = _one(query, "q")
    return text is None or text.lower() in f"{data.get('summary')} {data.get('description')}".lower()


def _sorted(query: Query, rows: Sequence[Row]) -> Sequence[Row]:
    match _one(query, "orderBy"):
        case None:
            return rows
        case "updated":
            return sorted(rows, key=_updated)
        case "startTime" if _one(query, "singleEvents") == "true":
            first = datetime.min.replace(tzinfo=UTC)
            return sorted(rows, key=lambda row: (span(row.data) or (first, first))[0])
        case _:
            raise Refusal(400, "badRequest", "The requested ordering is not available for the particular query.")


def _updated(row: Row) -> str:
    return row.data.get("updated") or _NEVER  # null in a planted oddity


def _size(query: Query) -> int:
    asked = _one(query, "maxResults") or str(_DEFAULT_ROWS)
    if not asked.isdecimal() or int(asked) < 1:
        raise Refusal(400, "invalidParameter", f"Invalid value '{asked}'.", location="maxResults")
    return min(int(asked), _MOST_ROWS)


def _instant(query: Query, name: str) -> datetime | None:
    value = _one(query, name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Refusal(400, "badRequest", "Bad Request", location=name) from None
    if moment.tzinfo is None:
        raise Refusal(400, "badRequest", "Bad Request", location=name)
    return moment


def _one(query: Query, name: str) -> str | None:
    return query[name][-1] if query.get(name) else None


def _sync_hash(query: Query) -> str:
    # showDeleted may be false in the first run and must be absent or true later, so it cannot count.
    return _hash(query, without=_NOT_WITH_SYNC | {"syncToken", "showDeleted"})


def _hash(query: Query, *, without: frozenset[str]) -> str:
    asked = sorted((name, list(query[name])) for name in query if name not in _NOT_ASKED | without)
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _pack(token: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode().rstrip("=")


def _unpack(token: str, name: str) -> dict[str, Any]:
    try:
        unpacked = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError:
        unpacked = None
    if not isinstance(unpacked, dict):
        raise Refusal(400, "invalid", f"Invalid {name} value.", location=name)
    return unpacked
