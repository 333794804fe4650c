"""One meeting as the emulator keeps it, and the answers that refuse one.

Source: developers.hubspot.com/docs/api-reference/crm-meetings-v3/guide and …/latest/error-handling.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

DATES = frozenset(
    {"hs_timestamp", "hs_meeting_start_time", "hs_meeting_end_time", "hs_createdate", "hs_lastmodifieddate"}
    | {"hubspot_owner_assigneddate"}
)
NUMBERS = frozenset({"hs_object_id", "hubspot_owner_id"})
TEXTS = frozenset(
    {"hs_meeting_title", "hs_meeting_body", "hs_internal_meeting_notes", "hs_meeting_external_url", "hs_activity_type"}
    | {"hs_meeting_location", "hs_meeting_outcome", "hs_attachment_ids", "hs_i_cal_uid"}
)
PROPERTIES = DATES | NUMBERS | TEXTS
ALWAYS_SHOWN = ("hs_createdate", "hs_lastmodifieddate", "hs_object_id")

_READ_ONLY = frozenset({*ALWAYS_SHOWN, "hubspot_owner_assigneddate"})
_OUTCOMES = frozenset({"SCHEDULED", "COMPLETED", "RESCHEDULED", "NO_SHOW", "CANCELED"})
_WHOLE = re.compile(r"-?\d{1,15}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_CATEGORIES = {400: "VALIDATION_ERROR", 401: "INVALID_AUTHENTICATION", 404: "OBJECT_NOT_FOUND", 409: "CONFLICT"}


class Refusal(Exception):
    """An error answer. ``more`` goes into the envelope."""

    def __init__(self, status: int, message: str, *, category: str | None = None, **more: Any) -> None:  # noqa: ANN401 - JSON
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = {}
        self._category = category or _CATEGORIES.get(status)
        self._more = more

    def body(self) -> dict[str, Any]:
        envelope = {"status": "error", "message": str(self), "correlationId": str(uuid.uuid4())}
        return {**envelope, **({"category": self._category} if self._category else {}), **self._more}


def limit_refusal(policy: str) -> Refusal:
    """The documented 429 of one policy."""
    message = f"You have reached your {policy.lower()} limit."
    return Refusal(429, message, category="RATE_LIMITS", errorType="RATE_LIMIT", policyName=policy)


class Stamps:
    """The times of changes: each a millisecond later than the one before, at least."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        known = [record.get("updatedAt") for record in records]
        self._last = max((to_ms(stamp) or 0 for stamp in known), default=0)

    def next(self) -> str:
        self._last = max(self._last + 1, int(time.time() * 1000))
        return from_ms(self._last)


class Typed(Protocol):
    """``providers.emulation.HumanEvent``, as far as it is read here: HubSpot knows neither whole days nor zones."""

    start: datetime | None
    end: datetime | None
    title: str | None
    busy: bool | None


def typed_properties(event: Typed) -> dict[str, Any]:
    """What a person typed, as properties; only what was given."""
    properties: dict[str, Any] = {}
    for moment, names in (
        (event.start, ("hs_meeting_start_time", "hs_timestamp")),
        (event.end, ("hs_meeting_end_time",)),
    ):
        if moment is not None:
            properties |= dict.fromkeys(names, from_ms(round(moment.timestamp() * 1000)))
    if event.title is not None:
        properties["hs_meeting_title"] = event.title
    if event.busy is not None:
        properties["hs_meeting_outcome"] = "SCHEDULED" if event.busy else "CANCELED"
    return properties


def new_record(number: int, properties: Mapping[str, Any], *, stamp: str) -> dict[str, Any]:
    """A record such as HubSpot would make of the properties."""
    own = {"hs_object_id": str(number), "hs_createdate": stamp, "hs_lastmodifieddate": stamp}
    assigned = {"hubspot_owner_assigneddate": stamp} if properties.get("hubspot_owner_id") else {}
    fallback = {"hs_timestamp": properties.get("hs_meeting_start_time")}
    return {
        "id": str(number),
        "_number": str(number),
        "properties": {**fallback, **properties, **assigned, **own},
        "createdAt": stamp,
        "updatedAt": stamp,
        "archived": False,
    }


def changed_record(record: Mapping[str, Any], properties: Mapping[str, Any], *, stamp: str) -> dict[str, Any]:
    """The record with ``properties`` written over its own."""
    before = record["properties"] if isinstance(record["properties"], dict) else record["_index"]
    moved = "hubspot_owner_id" in properties and properties["hubspot_owner_id"] != before.get("hubspot_owner_id")
    assigned = {"hubspot_owner_assigneddate": stamp} if moved else {}
    after = {**before, **properties, **assigned, "hs_lastmodifieddate": stamp}
    return {**record, "properties": after, "updatedAt": stamp, "_index": None}


def archived_record(record: Mapping[str, Any], *, stamp: str) -> dict[str, Any]:
    return {**record, "archived": True, "archivedAt": stamp, "updatedAt": stamp}


def shown_record(record: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The record with the properties that were asked for: null where it has none, absent where it knows none."""
    outside = {name: value for name, value in record.items() if not name.startswith("_")}
    properties = record.get("properties")
    if not isinstance(properties, dict):
        return outside
    wanted = [name for name in dict.fromkeys([*ALWAYS_SHOWN, *names]) if name in PROPERTIES]
    return {**outside, "properties": {name: properties.get(name) for name in wanted}}


def written_properties(body: Mapping[str, Any]) -> dict[str, str | None]:
    """The properties of a body as HubSpot would store them.

    Raises:
        Refusal: 400, one does not exist, may not be written or is not valid.
    """
    properties = body.get("properties")
    if not isinstance(properties, dict):
        raise Refusal(400, "Invalid input JSON: properties is missing")
    return {name: _stored(name, value) for name, value in properties.items()}


def must_have_a_time(properties: Mapping[str, Any]) -> None:
    """Raises: Refusal 400 if nothing says when the meeting is."""
    if not (properties.get("hs_timestamp") or properties.get("hs_meeting_start_time")):
        raise _invalid("hs_timestamp", "REQUIRED_PROPERTY_MISSING", "hs_timestamp is required")


def _stored(name: str, value: object) -> str | None:
    if name not in PROPERTIES:
        raise _invalid(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
    if name in _READ_ONLY:
        raise _invalid(name, "READ_ONLY_VALUE", f'"{name}" is a read only property')
    text = "" if value is None else str(value)
    if not text:
        return None
    if name in DATES:
        ms = to_ms(text)
        if ms is None:
            raise _invalid(name, "INVALID_DATE", f"{name} was not a valid long.")
        return from_ms(ms)
    if name in NUMBERS and not _WHOLE.fullmatch(text):
        raise _invalid(name, "INVALID_INTEGER", f"{name} was not a valid number.")
    if name == "hs_meeting_outcome" and text not in _OUTCOMES:
        raise _invalid(name, "INVALID_OPTION", f"{text} was not one of the allowed options")
    return text


def _invalid(name: str, code: str, message: str) -> Refusal:
    detail = {"message": message, "code": code, "context": {"propertyName": [name]}}
    return Refusal(400, f"Property values were not valid: {message}", errors=[detail])


def to_ms(value: object) -> int | None:
    """Milliseconds since 1970 of a time in either spelling; None if it is no time."""
    if not isinstance(value, str) or not value:
        return None
    if _WHOLE.fullmatch(value):
        return int(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return round(moment.timestamp() * 1000) if moment.tzinfo else None


def from_ms(ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
