"""What the four vendors push, as they would send it, to whatever address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from models.session import Sessions
from sync.domain import CalendarId
from sync.hints import Received, Taken, take_all
from sync.pushes import Push, Secrets

KEY = "a-key-of-at-least-thirty-two-characters"
APP_SECRET = "the-secret-of-the-app"
SECRETS = Secrets(KEY.encode())
JSON = "application/json"

numbers = itertools.count(1)


@dataclass(frozen=True)
class Post:
    """One request; ``path`` follows ``/webhooks/``."""

    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def outlook(calendar: int, *, change: str = "updated", channel: str = "outlook-1", **fields: Any) -> Post:  # noqa: ANN401 - as JSON has them
    item = {
        "id": "a name that is never the same",
        "subscriptionId": channel,
        "clientState": SECRETS.token("outlook", CalendarId(calendar)),
        "changeType": change,
        "resource": "Users/dana@example.com/Events/e",
        "resourceData": {"id": f"event-{next(numbers)}", "@odata.etag": 'W/"1"'},
    }
    return Post("outlook", json.dumps({"value": [item | fields]}).encode(), {"Content-Type": JSON})


def notice(calendar: int, event: str, *, channel: str = "outlook-1") -> Post:
    state = SECRETS.token("outlook", CalendarId(calendar))
    item = {"subscriptionId": channel, "clientState": state, "lifecycleEvent": event}
    return Post("outlook", json.dumps({"value": [item]}).encode(), {"Content-Type": JSON})


def google(calendar: int, *, channel: str = "google-1", state: str = "exists", token: str | None = None) -> Post:
    headers = {
        "X-Goog-Channel-ID": channel,
        "X-Goog-Channel-Token": SECRETS.token("google", CalendarId(calendar)) if token is None else token,
        "X-Goog-Resource-State": state,
        "X-Goog-Message-Number": str(next(numbers)),
    }
    return Post("google", b"", headers)


def hubspot(
    base: str, *, kind: str = "creation", number: int = 40, secret: str = APP_SECRET, age: float = 0, body: bytes = b""
) -> Post:
    event = {"eventId": 1, "portalId": 1, "subscriptionType": f"object.{kind}", "objectId": number}
    body = body or json.dumps([event | {"occurredAt": next(numbers)}]).encode()
    stamp = str(int((time.time() - age) * 1000))
    content = b"POST" + f"{base}/webhooks/hubspot".encode() + body + stamp.encode()
    mac = base64.b64encode(hmac.new(secret.encode(), content, hashlib.sha256).digest()).decode()
    headers = {"X-HubSpot-Signature-v3": mac, "X-HubSpot-Request-Timestamp": stamp, "Content-Type": JSON}
    return Post("hubspot", body, headers)


def calcom(calendar: int, *, trigger: str = "BOOKING_CREATED", signature: str | None = None, body: bytes = b"") -> Post:
    payload = {"uid": f"uid-{next(numbers)}", "title": "Secret cellar"}
    body = body or json.dumps({"triggerEvent": trigger, "createdAt": "now", "payload": payload}).encode()
    mac = hmac.new(SECRETS.of("calcom", CalendarId(calendar)).encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Cal-Signature-256": mac if signature is None else signature, "Content-Type": JSON}
    return Post(f"calcom?calendar={calendar}", body, headers)


def take(sessions: Sessions, provider: str, pushes: Sequence[Push]) -> Taken:
    """What becomes of one delivery alone; raises what it is answered with."""
    (answer,) = take_all(sessions, [Received(provider, tuple(pushes))])
    if isinstance(answer, Taken):
        return answer
    raise answer
