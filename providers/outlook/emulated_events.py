"""Graph's event resource as the emulator keeps it: made from requests, changed, shown (Graph: resources/event.md)."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from tzlocal.windows_tz import win_tz

from providers.outlook.emulated_pattern import rule_of

NO_TIME: Final = "0001-01-01T00:00:00Z"
EXTENDED: Final = "singleValueExtendedProperties"

_SHOW_AS: Final = frozenset({"free", "tentative", "busy", "oof", "workingElsewhere", "unknown"})
_COPIED: Final = frozenset(
    {
        "allowNewTimeProposals",
        "categories",
        "hideAttendees",
        "importance",
        "isAllDay",
        "isReminderOn",
        "reminderMinutesBeforeStart",
        "responseRequested",
        "sensitivity",
        "showAs",
        "subject",
    }
)
_READ_ONLY: Final = frozenset(
    {"id", "changeKey", "createdDateTime", "lastModifiedDateTime", "iCalUId", "webLink", "organizer", "isOrganizer",
     "bodyPreview", "hasAttachments", "responseStatus", "type", "seriesMasterId", "isCancelled", "isDraft",
     "originalStartTimeZone", "originalEndTimeZone", "onlineMeeting", "onlineMeetingUrl", "isOnlineMeeting",
     "onlineMeetingProvider", "locations"}
)  # fmt: skip


class GraphError(Exception):
    """An error answer. ``extra`` goes into the error object, ``headers`` onto the response."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        extra: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.extra = extra or {}
        self.headers = headers or {}


def new_event(body: dict[str, Any], *, event_id: str, mailbox: str, now: datetime) -> dict[str, Any]:
    """A single instance as ``POST …/events`` stores it.

    Raises:
        GraphError: the body is refused.
    """
    _require(body, "start", "end")
    data = {
        "id": event_id,
        "createdDateTime": dump_time(now),
        "categories": [],
        "iCalUId": uuid.uuid5(uuid.NAMESPACE_OID, event_id).hex.upper() * 2,
        "reminderMinutesBeforeStart": 15,
        "isReminderOn": True,
        "hasAttachments": False,
        "subject": None,
        "importance": "normal",
        "sensitivity": "normal",
        "isAllDay": False,
        "isCancelled": False,
        "isOrganizer": True,
        "isDraft": False,
        "responseRequested": True,
        "seriesMasterId": None,
        "showAs": "busy",
        "type": "singleInstance",
        "webLink": f"https://outlook.office365.com/owa/?itemid={event_id}",
        "onlineMeetingUrl": None,
        "isOnlineMeeting": False,
        "onlineMeetingProvider": "unknown",
        "onlineMeeting": None,
        "allowNewTimeProposals": True,
        "hideAttendees": False,
        "recurrence": None,
        "responseStatus": {"response": "organizer", "time": NO_TIME},
        "body": {"contentType": "html", "content": ""},
        "bodyPreview": "",
        "location": {"displayName": "", "locationType": "default", "uniqueIdType": "unknown"},
        "locations": [],
        "attendees": [],
        "organizer": {"emailAddress": {"name": mailbox.split("@", maxsplit=1)[0], "address": mailbox}},
    }
    if body.get("transactionId"):
        data["transactionId"] = body["transactionId"]
    return merged(data, body)


def merged(data: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """``data`` with what a POST or PATCH body says; ``transactionId`` cannot be changed later.

    Raises:
        GraphError: the body is refused; nothing has been changed.
    """
    known = (
        _COPIED
        | _READ_ONLY
        | {"start", "end", "body", "location", "attendees", "transactionId", "recurrence", EXTENDED}
    )
    for name in body:
        if name not in known and not name.startswith("@"):
            raise GraphError(
                400, "RequestBodyRead", f"The property '{name}' does not exist on type 'microsoft.graph.event'."
            )
    new = {**deepcopy(data), **{name: body[name] for name in body if name in _COPIED}}
    _merge_parts(new, body)
    _merge_times(new, body)
    if new.get("showAs", "busy") not in _SHOW_AS:
        raise GraphError(400, "RequestBodyRead", "Cannot convert the value of showAs.")
    return new


def stamped(data: dict[str, Any], *, seq: int, now: datetime) -> dict[str, Any]:
    """With the tags of its new state. Graph's weak etag holds the change key."""
    change_key = base64.b64encode(f"{data.get('id')}:{seq}".encode()).decode()
    tags = {"@odata.etag": f'W/"{change_key}"', "changeKey": change_key, "lastModifiedDateTime": dump_time(now)}
    return {**data, **tags}


def shown(data: dict[str, Any], *, zone: str = "UTC", expand: str | None = None) -> dict[str, Any]:
    """The event as an answer shows it: extended properties only if expanded, times in ``zone``."""
    event = {name: value for name, value in data.items() if name != EXTENDED}
    if zone != "UTC":
        for side in ("start", "end"):
            event[side] = _shown_in(event.get(side), zone, all_day=bool(data.get("isAllDay")))
    if expand and EXTENDED.lower() in expand.lower():
        wanted = re.findall(r"id eq '((?:[^']|'')*)'", expand)
        found = [each for each in data.get(EXTENDED) or [] if not wanted or each["id"] in wanted]
        if found:
            event[EXTENDED] = found
    return event


def stub(data: dict[str, Any]) -> dict[str, Any]:
    """An occurrence as the delta feed shows it (microsoft-graph-docs-contrib#34)."""
    kept: dict[str, Any] = {name: data[name] for name in ("@odata.etag", "id", "start", "end") if name in data}
    return {**kept, "type": "occurrence", "seriesMasterId": data.get("seriesMasterId") or f"{data.get('id')}-master"}


def overlaps(data: dict[str, Any], start: datetime, end: datetime) -> bool:
    """Whether calendarView shows it. What has no readable times is shown, so that odd records can be planted."""
    try:
        own = instants(data)
    except (KeyError, TypeError, ValueError):
        return True
    return own[0] < end and own[1] > start


def instants(data: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """Start and end.

    Raises:
        KeyError, TypeError, ValueError: they cannot be read.
    """
    return _utc(data["start"]), _utc(data["end"])


def matches_property(data: dict[str, Any], *, name: str, value: str) -> bool:
    """Graph compares the name with and the value without case."""
    return any(each["id"] == name and str(each["value"]).lower() == value.lower() for each in data.get(EXTENDED) or [])


def dump_time(instant: datetime) -> str:
    """An instant with seven digits and Z."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"


def wall(instant: datetime) -> str:
    """A wall clock with seven digits and no offset."""
    return f"{instant:%Y-%m-%dT%H:%M:%S.%f}0"


def zone_info(name: str) -> ZoneInfo:
    """Raises GraphError: neither a Windows nor an IANA zone."""
    try:
        return ZoneInfo(win_tz.get(name, name))
    except (KeyError, ValueError, OSError):
        raise GraphError(
            400, "TimeZoneNotSupportedException", f"A valid TimeZone value must be specified: '{name}'."
        ) from None


def _merge_parts(new: dict[str, Any], body: dict[str, Any]) -> None:
    if isinstance(body.get("body"), dict):
        content = str(body["body"].get("content") or "")
        new["body"] = {"contentType": str(body["body"].get("contentType") or "text").lower(), "content": content}
        new["bodyPreview"] = content[:255]
    if isinstance(body.get("location"), dict):
        new["location"] = {**(new.get("location") or {}), **body["location"]}
    if "attendees" in body:
        new["attendees"] = [_attendee(each) for each in body["attendees"] or []]
    if "recurrence" in body and new.get("type") in {"singleInstance", "seriesMaster"}:
        new["recurrence"] = _recurrence(body["recurrence"], zone=_series_zone(new, body))
        new["type"] = "seriesMaster" if new["recurrence"] else "singleInstance"
    for each in body.get(EXTENDED) or []:
        others = [old for old in new.get(EXTENDED) or [] if old["id"] != each["id"]]
        new[EXTENDED] = [*others, {"id": each["id"], "value": each["value"]}]


def _merge_times(new: dict[str, Any], body: dict[str, Any]) -> None:
    for side, original in (("start", "originalStartTimeZone"), ("end", "originalEndTimeZone")):
        if side in body:
            new[side] = _stored(body[side], side, all_day=bool(new.get("isAllDay")))
            new[original] = body[side]["timeZone"]
    try:
        bounds = instants(new)
    except (KeyError, TypeError, ValueError):
        return  # a planted record; the other side is still odd
    if bounds[1] < bounds[0]:
        raise GraphError(400, "ErrorCalendarEndDateIsEarlierThanStartDate", "EndDate is earlier than StartDate")
    midnight = all(each == each.replace(hour=0, minute=0, second=0, microsecond=0) for each in bounds)
    if new.get("isAllDay") and not midnight:
        raise GraphError(
            400, "ErrorInvalidRequest", "The Event.Start property for an all-day event needs to be set to midnight."
        )


def _series_zone(data: dict[str, Any], body: dict[str, Any]) -> str:
    return str((body.get("start") or {}).get("timeZone") or data.get("originalStartTimeZone") or "UTC")


def _recurrence(sent: Any, *, zone: str) -> dict[str, Any] | None:  # noqa: ANN401 - as sent
    """With the zone that a series keeps its wall clock in: its own, or that of its start."""
    if sent is None:
        return None
    try:
        bounds = {"recurrenceTimeZone": zone, **sent["range"]}
        recurrence = {"pattern": dict(sent["pattern"]), "range": bounds}
        rule_of(recurrence, zone=zone_info(bounds["recurrenceTimeZone"]))
    except (KeyError, TypeError, ValueError):
        raise GraphError(400, "ErrorInvalidRequest", "The recurrence pattern or range is not valid.") from None
    return recurrence


def _stored(moment: Any, side: str, *, all_day: bool) -> dict[str, str]:  # noqa: ANN401 - as sent
    try:
        at = datetime.fromisoformat(moment["dateTime"])
        zone = zone_info(moment["timeZone"])
    except (KeyError, TypeError, ValueError):
        raise GraphError(400, "RequestBodyRead", f"Cannot convert the value of {side}.") from None
    if not all_day:  # an all-day event is a date: only its label changes with the zone (docs#1802)
        at = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    return {"dateTime": wall(at), "timeZone": "UTC"}


def _shown_in(moment: Any, zone: str, *, all_day: bool) -> Any:  # noqa: ANN401 - as stored
    try:
        at = _utc(moment)
    except (KeyError, TypeError, ValueError):
        return moment
    return {"dateTime": wall(at if all_day else at.astimezone(zone_info(zone))), "timeZone": zone}


def _utc(moment: dict[str, str]) -> datetime:
    at = datetime.fromisoformat(moment["dateTime"])
    if not timedelta(days=1) < at.replace(tzinfo=None) - datetime.min < timedelta(days=365 * 9000):  # noqa: DTZ901
        raise ValueError("a year that no zone can be applied to")
    return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(moment["timeZone"]))).astimezone(UTC)


def _attendee(sent: dict[str, Any]) -> dict[str, Any]:
    address = sent.get("emailAddress") or {}
    return {
        "type": str(sent.get("type") or "required").lower(),
        "status": {"response": "none", "time": NO_TIME},
        "emailAddress": {"name": address.get("name") or address.get("address"), "address": address.get("address")},
    }


def _require(body: dict[str, Any], *names: str) -> None:
    for name in names:
        if not body.get(name):
            raise GraphError(400, "ErrorInvalidRequest", f"The property {name} is required.")
