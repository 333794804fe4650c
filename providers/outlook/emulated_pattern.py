"""Graph's recurrence (resources/recurrencepattern.md, recurrencerange.md) as a rule of RFC 5545."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

_DAYS: Final = {
    "sunday": "SU",
    "monday": "MO",
    "tuesday": "TU",
    "wednesday": "WE",
    "thursday": "TH",
    "friday": "FR",
    "saturday": "SA",
}
_PLACES: Final = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
_SHORTEST_MONTH: Final = 28


def rule_of(recurrence: Mapping[str, Any], *, zone: ZoneInfo) -> str:
    """The RRULE. ``endDate`` includes that day of ``zone``.

    Raises:
        KeyError, TypeError, ValueError: it is no recurrence.
    """
    pattern, bounds = recurrence["pattern"], recurrence["range"]
    interval = int(pattern.get("interval", 1))
    return f"RRULE:{_frequency(pattern)};INTERVAL={interval}{_end(bounds, zone=zone)}"


def _frequency(pattern: Mapping[str, Any]) -> str:
    match pattern["type"]:
        case "daily":
            return "FREQ=DAILY"
        case "weekly":
            week_start = _DAYS[str(pattern.get("firstDayOfWeek") or "sunday").lower()]
            return f"FREQ=WEEKLY;BYDAY={_days(pattern)};WKST={week_start}"
        case "absoluteMonthly":
            return f"FREQ=MONTHLY;{_day_of_month(pattern)}"
        case "relativeMonthly":
            return f"FREQ=MONTHLY;{_place(pattern)}"
        case "absoluteYearly":
            return f"FREQ=YEARLY;BYMONTH={int(pattern['month'])};{_day_of_month(pattern)}"
        case "relativeYearly":
            return f"FREQ=YEARLY;BYMONTH={int(pattern['month'])};{_place(pattern)}"
        case other:
            raise ValueError(other)


def _days(pattern: Mapping[str, Any]) -> str:
    return ",".join(_DAYS[day.lower()] for day in pattern["daysOfWeek"])


def _place(pattern: Mapping[str, Any]) -> str:
    return f"BYDAY={_days(pattern)};BYSETPOS={_PLACES[str(pattern.get('index') or 'first').lower()]}"


def _day_of_month(pattern: Mapping[str, Any]) -> str:
    """The 31st is the last day of a shorter month."""
    day = int(pattern["dayOfMonth"])
    if day <= _SHORTEST_MONTH:
        return f"BYMONTHDAY={day}"
    return f"BYMONTHDAY={','.join(str(each) for each in range(_SHORTEST_MONTH, day + 1))};BYSETPOS=-1"


def _end(bounds: Mapping[str, Any], *, zone: ZoneInfo) -> str:
    match bounds["type"]:
        case "noEnd":
            return ""
        case "numbered":
            return f";COUNT={int(bounds['numberOfOccurrences'])}"
        case "endDate":
            last = datetime.combine(date.fromisoformat(bounds["endDate"]), time.max, tzinfo=zone)
            return f";UNTIL={last.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        case other:
            raise ValueError(other)
