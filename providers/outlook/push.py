"""Graph's subscriptions for one resource: pushes are hints, and say no more than "read again" (design §5.1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

import requests

from providers.moments import dump_instant, parse_instant
from providers.outlook import payloads
from providers.outlook.paging import Pages
from providers.transport import Answer, Transport
from sync.domain import Subscription
from sync.errors import Malformed, NotFound, Rejected, WriteOutcomeUnknown

LONGEST_SUBSCRIPTION: Final = timedelta(minutes=4230)  # the shorter of the two limits that Microsoft has published

# On every request: ids that survive folder moves (Graph: outlook-immutable-id.md), and UTC instead of Windows zone names.
PREFER: Final = 'outlook.timezone="UTC", IdType="ImmutableId"'
HEADERS: Final = {"Prefer": PREFER}

_SUBSCRIPTIONS: Final = "/subscriptions"
_SUBSCRIPTION: Final = "/subscriptions/{id}"


class PushChannels:
    """A ``sync.ports.CalendarSubscriber`` for ``resource`` (``/users/{user}/events``)."""

    def __init__(self, resource: str, *, transport: Transport, base_url: str, clock: Callable[[], datetime]) -> None:
        self._resource = resource
        self._transport = transport
        self._pages = Pages(transport, base_url=base_url)
        self._clock = clock
        self._subscriptions = f"{base_url}/subscriptions"

    def subscribe(self, *, url: str, secret: str, expires: datetime) -> Subscription:
        """Events and lifecycle notices both go to ``url``. ``expires`` is brought forward to what Graph allows.

        Graph refuses a second subscription to the same resource with 409. One of ours whose answer got lost is
        replaced, since its secret cannot be read back.
        """
        try:
            return self._new_subscription(url=url, secret=secret, expires=expires)
        except Rejected:
            if not self._end_subscriptions_to(url):
                raise
            return self._new_subscription(url=url, secret=secret, expires=expires)

    def _new_subscription(self, *, url: str, secret: str, expires: datetime) -> Subscription:
        body = {
            "changeType": "created,updated,deleted",
            "notificationUrl": url,
            "lifecycleNotificationUrl": url,  # cannot be added later (Graph: change-notifications-lifecycle-events.md)
            "resource": self._resource,
            "expirationDateTime": self._expiry(expires),
            "clientState": secret,
        }
        return _subscription(
            self._transport.request("POST", self._subscriptions, route=_SUBSCRIPTIONS, json=body, headers=HEADERS)
        )

    def _end_subscriptions_to(self, url: str) -> int:
        rows = self._pages.read(self._subscriptions, route=_SUBSCRIPTIONS, headers=HEADERS).rows
        wanted = (self._resource.lower(), url)
        ended = 0
        for row in rows:
            if isinstance(row, dict) and (str(row.get("resource", "")).lower(), row.get("notificationUrl")) == wanted:
                self._end_subscription(str(row.get("id")))
                ended += 1
        return ended

    def renew(self, subscription: Subscription, *, url: str, secret: str, expires: datetime) -> Subscription:  # noqa: ARG002
        """PATCH of the expiry; ``url`` and ``secret`` stay what they were, Graph cannot change them."""
        body = {"expirationDateTime": self._expiry(expires)}
        target = f"{self._subscriptions}/{quote(subscription.id, safe='')}"
        return _subscription(self._transport.request("PATCH", target, route=_SUBSCRIPTION, json=body, headers=HEADERS))

    def unsubscribe(self, subscription: Subscription) -> None:
        self._end_subscription(subscription.id)

    def _end_subscription(self, subscription_id: str) -> None:
        target = f"{self._subscriptions}/{quote(subscription_id, safe='')}"
        try:
            answer = self._transport.request("DELETE", target, route=_SUBSCRIPTION, headers=HEADERS, empty=True)
        except NotFound:
            return
        require_no_content(answer, route=_SUBSCRIPTION)

    def _expiry(self, expires: datetime) -> str:
        return dump_instant(min(expires, self._clock() + LONGEST_SUBSCRIPTION))


def _subscription(answer: Answer) -> Subscription:
    found = payloads.id_of(answer.body)
    if found is None:
        raise WriteOutcomeUnknown("outlook: a subscription without an id")
    try:
        expires = parse_instant(answer.body.get("expirationDateTime"), field="expirationDateTime")
    except Malformed as error:
        raise WriteOutcomeUnknown(f"outlook: a subscription with {error}") from error
    return Subscription(found, expires)


def require_no_content(answer: Answer, *, route: str) -> None:
    """Graph answers a DELETE with 204. Anything else, as a sign-in page with 200, comes from something in between."""
    if answer.status != requests.codes.no_content:
        raise WriteOutcomeUnknown(f"outlook DELETE {route}: {answer.status} instead of 204")
