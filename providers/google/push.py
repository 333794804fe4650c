"""Google's push channels for one calendar: a push says no more than "read again" (design §5.1)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import structlog

from providers.google.listing import ROUTE as EVENTS
from providers.transport import Transport
from sync.domain import Subscription
from sync.errors import NotFound, WatertightError, WriteOutcomeUnknown

log = structlog.get_logger(__name__)


class PushChannels:
    """A ``sync.ports.CalendarSubscriber`` for the events at ``url``."""

    def __init__(self, url: str, *, transport: Transport, base_url: str) -> None:
        self._events = url
        self._transport = transport
        self._base = base_url

    def subscribe(self, *, url: str, secret: str, expires: datetime) -> Subscription:
        body = {
            "id": uuid.uuid4().hex,
            "type": "web_hook",
            "address": url,
            "token": secret,
            "expiration": str(int(expires.timestamp() * 1000)),
        }
        answer = self._transport.request("POST", f"{self._events}/watch", route=f"{EVENTS}/watch", json=body)
        return _subscription(answer.body)

    def renew(self, subscription: Subscription, *, url: str, secret: str, expires: datetime) -> Subscription:
        """Replace: Google cannot extend a channel. The new one is open before the old one is stopped."""
        replacement = self.subscribe(url=url, secret=secret, expires=expires)
        try:
            self.unsubscribe(subscription)
        except WatertightError as error:
            # The new channel must not be lost for this; the old one ends by itself and until then repeats hints.
            log.warning("google.channel_not_stopped", code=error.code)
        return replacement

    def unsubscribe(self, subscription: Subscription) -> None:
        body = {"id": subscription.id, "resourceId": subscription.resource_id}
        try:
            self._transport.request(
                "POST", f"{self._base}/channels/stop", route="/channels/stop", json=body, empty=True
            )
        except NotFound:
            return


def _subscription(body: dict[str, Any]) -> Subscription:
    match body:
        case {"id": str(channel), "resourceId": str(resource), "expiration": str(expiration)} if expiration.isdecimal():
            expires = datetime.fromtimestamp(int(expiration) / 1000, tz=UTC)
            return Subscription(channel, expires, resource)
        case _:
            raise WriteOutcomeUnknown(f"google POST {EVENTS}/watch: not a channel")
