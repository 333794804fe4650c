"""freeBusy.query as the emulator answers it. Errors arrive inside a 200 (FreeBusyCalendar.errors)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from providers.google.emulated_event import Refusal, span

Span = tuple[datetime, datetime]


def asked_window(body: dict[str, Any]) -> Span:
    """The window of the question.

    Raises:
        Refusal: 400, it is empty or not understood.
    """
    window = span({"start": {"dateTime": body.get("timeMin")}, "end": {"dateTime": body.get("timeMax")}})
    if window is None or window[1] <= window[0]:
        raise Refusal(400, "timeRangeEmpty", "The specified time range is empty.", domain="calendar")
    return window


def busy_times(events: Iterable[dict[str, Any]], *, window: Span) -> dict[str, Any]:
    """One calendar's part of the answer: merged and cut to the window."""
    spans = sorted(both for event in events if event.get("transparency") != "transparent" and (both := span(event)))
    merged: list[Span] = []
    for start, end in spans:
        if start >= window[1] or end <= window[0]:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    cut = [(max(start, window[0]), min(end, window[1])) for start, end in merged]
    return {"busy": [{"start": _shown(start), "end": _shown(end)} for start, end in cut]}


def refused(*, reason: str) -> dict[str, Any]:
    return {"errors": [{"domain": "global", "reason": reason}], "busy": []}


def _shown(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
