"""How the console words times and values. Instants are written in UTC; the browser shows them in the viewer's zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

MINUTE = 60.0
PRIVATE = frozenset({"title", "attendees", "name", "email", "hold"})  # no page of the console shows what people typed


def iso(instant: datetime) -> str:
    """For ``<time datetime>``."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def plain(instant: datetime) -> str:
    """As it is read without a script."""
    return f"{instant:%Y-%m-%d %H:%M:%S}Z"


def seconds(value: float | None) -> str:
    """A length of time in one unit that a tired person can compare."""
    if value is None:
        return "-"
    if value < 10:  # noqa: PLR2004 - below, tenths matter
        return f"{value:.1f} s"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if value >= 2 * length:
            return f"{int(value // length)} {unit}"
    return f"{value:.0f} s"


def ago(instant: datetime, now: datetime) -> str:
    """Whole seconds are fine enough for what is past."""
    passed = max(0.0, (now - instant).total_seconds())
    return f"{passed:.0f} s ago" if passed < MINUTE else f"{seconds(passed)} ago"


def until(instant: datetime, now: datetime) -> str:
    """What lies behind is due."""
    left = (instant - now).total_seconds()
    return f"in {seconds(left)}" if left > 0 else "due"


def value(found: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Ids, codes and intervals in words; nothing that people typed."""
    if isinstance(found, dict):
        return ", ".join(f"{key} {value(item)}" for key, item in found.items() if key not in PRIVATE) or "none"
    if isinstance(found, list):
        return "; ".join(value(item) for item in found) or "none"
    if isinstance(found, datetime):
        return plain(found)
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, float):
        return f"{found:g}"
    return "-" if found is None or found == "" else str(found)


def public(found: dict[str, Any] | None) -> dict[str, Any]:
    """Without what people typed."""
    return {key: item for key, item in (found or {}).items() if key not in PRIVATE}
