"""getSchedule as the emulator answers it: busy times of several mailboxes, and errors inside a 200.

Source: Graph: calendar-getschedule.md. Our client asks calendarView instead, which has ids and tags.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from providers.outlook import emulated_events as events
from providers.outlook.emulated_events import GraphError

View = Callable[[str, tuple[datetime, datetime]], list[dict[str, Any]]]

NO_ANSWER: Final = {"message": "Unable to resolve the mailbox.", "responseCode": "5009"}
_STATUS: Final = frozenset({"free", "tentative", "busy", "oof", "workingElsewhere"})


def schedules(body: dict[str, Any], *, view: View, take: Callable[..., object]) -> list[dict[str, Any]]:
    """One entry for each mailbox asked for.

    Raises:
        GraphError: 400, it is no question; 500 for an interval of null (docs#4494).
    """
    if "availabilityViewInterval" in body and body["availabilityViewInterval"] is None:
        raise GraphError(500, "ErrorInternalServerError", "An internal server error occurred.")
    window = _instant(body.get("startTime")), _instant(body.get("endTime"))
    mailboxes = [str(each) for each in body.get("schedules") or []]
    if len(mailboxes) > 1 and take("schedule_silence"):  # msgraph-sdk-javascript#215
        mailboxes = mailboxes[:1]
    return [_entry(mailbox, window, view=view, broken=bool(take("schedule_error"))) for mailbox in mailboxes]


def _entry(mailbox: str, window: tuple[datetime, datetime], *, view: View, broken: bool) -> dict[str, Any]:
    if broken:  # docs#11225: no busy list, and the answer is 200
        return {"scheduleId": mailbox, "availabilityView": "", "error": NO_ANSWER}
    found = view(mailbox.lower(), window)
    return {"scheduleId": mailbox, "availabilityView": "", "scheduleItems": [_item(data) for data in found]}


def _item(data: dict[str, Any]) -> dict[str, Any]:
    status = data.get("showAs") if data.get("showAs") in _STATUS else "unknown"
    return {"status": status, "start": data.get("start"), "end": data.get("end"), "subject": data.get("subject")}


def _instant(moment: Any) -> datetime:  # noqa: ANN401 - as sent
    try:
        at = datetime.fromisoformat(moment["dateTime"])
        return (at if at.tzinfo else at.replace(tzinfo=events.zone_info(moment["timeZone"]))).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        raise GraphError(400, "RequestBodyRead", "startTime and endTime are required.") from None
