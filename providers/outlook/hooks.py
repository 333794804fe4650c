"""What Graph pushes: change notifications and notices about the subscription itself.

Source: Graph: change-notifications-delivery-webhooks.md, change-notifications-lifecycle-events.md.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from providers.received import At, Proof, Received, read_json
from sync.domain import CalendarId, RemoteId
from sync.errors import Malformed, Unproven
from sync.pushes import Notice, Push, Told, key_of

PROVIDER: Final = "outlook"
MOST_ITEMS: Final = 1000
LONGEST_VALIDATION: Final = 1000  # characters; Graph sends about 80
# A notice carries neither id nor time, and is sent again until it is acknowledged: within this time it is the same one.
SAME_NOTICE: Final = timedelta(minutes=10)

NOTICES: Final = {
    "missed": Notice.MISSED,
    "subscriptionRemoved": Notice.REMOVED,
    "reauthorizationRequired": Notice.RENEW,
}


def read(received: Received, proof: Proof, *, now: datetime) -> list[Push]:
    """Everything that a delivery tells. One of several items that is forged spoils all: Graph sends no such thing.

    Raises:
        Malformed: it is not what Graph sends; names the field.
        Unproven: a ``clientState`` is not ours.
    """
    items = read_json(received.body)["value"].items(most=MOST_ITEMS)
    proven = [(_calendar_of(item, proof), item) for item in items]
    return [_push(item, calendar_id, now=now) for calendar_id, item in proven]


def _calendar_of(item: At, proof: Proof) -> CalendarId:
    given = item.object().get("clientState")
    found = proof.secrets.calendar_of(PROVIDER, given) if isinstance(given, str) else None
    if found is None:
        raise Unproven("wrong_client_state")
    return found


def _push(item: At, calendar_id: CalendarId, *, now: datetime) -> Push:
    channel = item["subscriptionId"].text()
    if "lifecycleEvent" in item.object():
        return _notice(item, calendar_id, channel, now=now)
    told = _told(item["changeType"])
    event = item["resourceData"]["id"].text()
    version = item["resourceData"].object().get("@odata.etag") or item.object().get("id") or _bucket(now)
    return Push(key_of(channel, told, event, version), calendar_id, channel, told, event=RemoteId(event))


def _notice(item: At, calendar_id: CalendarId, channel: str, *, now: datetime) -> Push:
    name = item["lifecycleEvent"].text()
    if name not in NOTICES:
        raise Malformed(item["lifecycleEvent"].path, "is unknown")
    return Push(key_of(channel, name, _bucket(now)), calendar_id, channel, notice=NOTICES[name])


def _told(item: At) -> Told:
    try:
        return Told(item.text())
    except ValueError:
        raise Malformed(item.path, "is none of created, updated, deleted") from None


def _bucket(now: datetime) -> int:
    return int(now.timestamp() // SAME_NOTICE.total_seconds())
