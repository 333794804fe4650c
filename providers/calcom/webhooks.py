"""Webhooks of one key's owner. They only say "read again": what they carry is not believed (cal.diy#21169).

Source: calcom/cal.com, ``apps/api/v2/src/modules/webhooks/controllers/webhooks.controller.ts``.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from providers.transport import Transport
from sync.domain import Subscription
from sync.errors import NotFound, WriteOutcomeUnknown

TRIGGERS = (
    "BOOKING_CREATED",
    "BOOKING_RESCHEDULED",
    "BOOKING_CANCELLED",
    "BOOKING_REQUESTED",
    "BOOKING_REJECTED",
    "BOOKING_PAID",
)

_HOOKS = "/v2/webhooks"


class Webhooks:
    """Registers addresses. A webhook lasts until it is deleted; ``expires`` is only when we look after it again."""

    def __init__(self, transport: Transport, *, base_url: str) -> None:
        self._transport = transport
        self._hooks = f"{base_url.rstrip('/')}/webhooks"

    def open(self, *, url: str, secret: str, expires: datetime) -> Subscription:
        """Register an address.

        Raises:
            WriteOutcomeUnknown: it may be registered; a second one would only repeat hints.
        """
        body = {"subscriberUrl": url, "triggers": list(TRIGGERS), "active": True, "secret": secret}
        answer = self._transport.request("POST", self._hooks, route=_HOOKS, json=body)
        match answer.body:
            case {"status": "success", "data": {"id": str(name) | int(name)}} if name:
                return Subscription(str(name), expires)
            case _:
                raise WriteOutcomeUnknown(f"calcom POST {_HOOKS}: not a webhook")

    def renew(self, subscription: Subscription, *, url: str, secret: str, expires: datetime) -> Subscription:
        """Make sure that it is there, active, and has this address and secret.

        Raises:
            NotFound: it has been deleted.
        """
        body = {"subscriberUrl": url, "active": True, "secret": secret}
        self._transport.request("PATCH", self._url(subscription), route=f"{_HOOKS}/{{id}}", json=body)
        return Subscription(subscription.id, expires)

    def close(self, subscription: Subscription) -> None:
        try:
            self._transport.request("DELETE", self._url(subscription), route=f"{_HOOKS}/{{id}}", empty=True)
        except NotFound:
            return

    def _url(self, subscription: Subscription) -> str:
        return f"{self._hooks}/{quote(subscription.id, safe='')}"
