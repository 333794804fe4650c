"""What the app of an account is told about meetings: up to a hundred events in one message, signed (v3).

Source: developers.hubspot.com, "Create generic webhook subscriptions", "Validating requests". The app and its subscriptions
are made in HubSpot's own pages: here by ``POST /_control/webhook``. Repeated while the receiver is busy, in no promised order.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from providers.emulated_outbox import Message, Outbox

MOST_EVENTS = 100
PORTAL, APP, MEETINGS = 8_000_001, 501, "0-47"

_PAUSES = (0.0, 0.2, 0.8)  # HubSpot goes on for about a day
_WATCHED = (
    "hs_meeting_title",
    "hs_meeting_start_time",
    "hs_meeting_end_time",
    "hs_meeting_outcome",
    "hubspot_owner_id",
)

Record = Mapping[str, Any]


class Target(BaseModel):
    """Where the app of this account is told, and its client secret."""

    model_config = ConfigDict(extra="forbid")

    url: str
    secret: str


class Pushes:
    """Nobody is told before a target is set; it is forgotten by a restart."""

    def __init__(self) -> None:
        self._target: Target | None = None
        self._outbox = Outbox("hubspot-push")
        self._numbers = itertools.count(1)

    def connect(self, body: bytes) -> dict[str, str]:
        """Take on a target, which is JSON with ``url`` and ``secret``."""
        self._target = Target.model_validate_json(body)
        return {"url": self._target.url}

    def tell(self, before: Record | None, after: Record, *, times: int = 1) -> None:
        """What became of a record, as one event for each property that changed."""
        happened = _happened(before, after)
        events = [self._event(after, kind, **details) for kind, details in happened]
        for _ in range(times):
            self.send(events)

    def send(self, events: Sequence[dict[str, Any]]) -> None:
        target = self._target
        if target is None or not events:
            return
        for first in range(0, len(events), MOST_EVENTS):
            body = json.dumps(events[first : first + MOST_EVENTS]).encode()
            self._outbox.put(Message(target.url, body, functools.partial(signed, target, body), _PAUSES))

    def _event(self, record: Record, kind: str, **details: str | None) -> dict[str, Any]:
        return {
            "eventId": next(self._numbers),
            "subscriptionId": 1,
            "portalId": PORTAL,
            "appId": APP,
            "occurredAt": int(time.time() * 1000),
            "subscriptionType": f"object.{kind}",
            "attemptNumber": 0,
            "objectId": int(record["_number"]),
            "objectTypeId": MEETINGS,
            "changeSource": "CRM_UI",
            "sourceId": "userId:1",
            **details,
        }


def signed(target: Target, body: bytes) -> dict[str, str]:
    """The headers of a message that leaves now."""
    stamp = str(int(time.time() * 1000))
    content = b"POST" + target.url.encode() + body + stamp.encode()
    mac = hmac.new(target.secret.encode(), content, hashlib.sha256).digest()
    return {"X-HubSpot-Signature-v3": base64.b64encode(mac).decode(), "X-HubSpot-Request-Timestamp": stamp}


def _happened(before: Record | None, after: Record) -> list[tuple[str, dict[str, str | None]]]:
    if before is None:
        return [("creation", {})]
    if after["archived"]:
        return [("deletion", {})]
    old, new = before["properties"], after["properties"]
    changed = [name for name in _WATCHED if old.get(name) != new.get(name)]
    return [("propertyChange", {"propertyName": name, "propertyValue": new.get(name)}) for name in changed]
