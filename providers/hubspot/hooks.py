"""What HubSpot pushes to an app: up to a hundred events at once, signed for the app (v3).

Source: developers.hubspot.com, "Validating requests" and "Create generic webhook subscriptions"; checked against
``hubspot.utils.signature`` of hubspot-api-client. ``eventId`` is not unique, and nothing about the order is promised.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any, Final

from providers.received import At, Proof, Received, is_fresh, is_same, read_json
from sync.domain import RemoteId
from sync.errors import Malformed, Unproven
from sync.pushes import Push, Told, key_of

PROVIDER: Final = "hubspot"
MOST_ITEMS: Final = 100
WINDOW_SECONDS: Final = 300.0
MEETINGS: Final = "0-47"  # objectTypeId of meetings; other objects are nobody's calendar
OWNER: Final = "hubspot_owner_id"

TOLD: Final = {"creation": Told.CREATED, "propertyChange": Told.UPDATED, "deletion": Told.DELETED}
_NAMES: Final = ("portalId", "subscriptionType", "objectId", "occurredAt", "propertyName", "propertyValue")
_LONGEST_STAMP: Final = 15


def read(received: Received, proof: Proof, *, now: datetime) -> list[Push]:
    """Every event about a meeting.

    Raises:
        Malformed: it is not what HubSpot sends; names the field.
        Unproven: not signed with the app's secret, or longer ago than five minutes.
    """
    _require_signature(received, proof.app_secret, now=now)
    items = read_json(received.body).items(most=MOST_ITEMS)
    return [_push(item) for item in items if item.object().get("objectTypeId") in (None, "", MEETINGS)]


def _require_signature(received: Received, secret: bytes, *, now: datetime) -> None:
    stamp = received.headers.get("x-hubspot-request-timestamp") or ""
    given = received.headers.get("x-hubspot-signature-v3") or ""
    signed = received.method.encode() + received.url.encode() + received.body + stamp.encode("utf-8", "replace")
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    if not secret or not is_same(given, expected):
        raise Unproven("wrong_signature")
    # Only now: what is not signed says nothing about time.
    if not stamp.isdecimal() or len(stamp) > _LONGEST_STAMP:
        raise Unproven("no_timestamp")
    if not is_fresh(datetime.fromtimestamp(int(stamp) / 1000, tz=UTC), now=now, seconds=WINDOW_SECONDS):
        raise Unproven("stale_timestamp")


def _push(item: At) -> Push:
    kind = item["subscriptionType"].text().rpartition(".")[2]
    number = item["objectId"].value
    if not isinstance(number, int | str) or isinstance(number, bool) or not str(number).isdecimal():
        raise Malformed(item["objectId"].path, "is not a number")
    found = item.object()
    return Push(
        key_of(*(found.get(name) for name in _NAMES)),
        told=TOLD.get(kind) if not _changes_hands(found) else None,
        event=RemoteId(str(number)),
        owner=str(found["propertyValue"]) if _changes_hands(found) else None,
    )


def _changes_hands(found: dict[str, Any]) -> bool:
    """A meeting that goes to another owner ends in one calendar and begins in another."""
    return found.get("propertyName") == OWNER and bool(found.get("propertyValue"))
