"""Graph's subscriptions and change notifications (Graph: change-notifications-delivery-webhooks.md)."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import requests

from providers.outlook.emulated_events import GraphError, dump_time

LONGEST: Final = timedelta(minutes=10_080)
SHORTEST: Final = timedelta(minutes=45)
HANDSHAKE_SECONDS: Final = 10.0
DELIVERY_SECONDS: Final = 3.0
DELIVERY_PAUSES: Final = (0.0, 0.5, 2.0)  # Graph goes on for up to four hours

log = logging.getLogger(__name__)


class Subscriptions:
    """The subscriptions of all mailboxes, in memory: a restart loses them, as a vendor's bad day does."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Store a validated subscription.

        Raises:
            GraphError: 409 for the same resource and change type twice.
        """
        wanted = (str(body["resource"]).lower(), body["changeType"])
        if any((each["resource"].lower(), each["changeType"]) == wanted for each in self.live()):
            raise GraphError(409, "Conflict", "A subscription for this resource and change type exists.")
        subscription = {
            "id": str(uuid.uuid4()),
            "resource": body["resource"],
            "applicationId": "00000000-0000-0000-0000-00000000a11c",
            "changeType": body["changeType"],
            "clientState": body.get("clientState"),
            "notificationUrl": body["notificationUrl"],
            "lifecycleNotificationUrl": body.get("lifecycleNotificationUrl"),
            "expirationDateTime": _expiry(body),
            "creatorId": "00000000-0000-0000-0000-00000000a11c",
        }
        self._known[subscription["id"]] = subscription
        return subscription

    def extend(self, subscription_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Raises GraphError: 404 or a bad expiry."""
        subscription = self.get(subscription_id)
        subscription["expirationDateTime"] = _expiry(body)
        return subscription

    def get(self, subscription_id: str) -> dict[str, Any]:
        """Raises GraphError: 404."""
        for subscription in self.live():
            if subscription["id"] == subscription_id:
                return subscription
        raise GraphError(404, "ResourceNotFound", "The object was not found.")

    def remove(self, subscription_id: str) -> None:
        """Raises GraphError: 404."""
        del self._known[self.get(subscription_id)["id"]]

    def live(self) -> list[dict[str, Any]]:
        now = dump_time(datetime.now(UTC))
        return [each for each in self._known.values() if each["expirationDateTime"] > now]

    def of(self, mailbox: str, *, change: str) -> Iterator[dict[str, Any]]:
        """The subscriptions that hear of ``change`` (created, updated, deleted) in a mailbox."""
        for each in self.live():
            parts = each["resource"].strip("/").lower().split("/")
            if parts[:2] == ["users", mailbox] and change in each["changeType"].split(","):
                yield each


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """Raises GraphError: a required property is missing or too long."""
    for name in ("changeType", "notificationUrl", "resource", "expirationDateTime"):
        if not isinstance(body.get(name), str):
            raise GraphError(400, "InvalidRequest", f"The property {name} is required.")
    if len(body.get("clientState") or "") > 128:  # noqa: PLR2004 - Graph: subscription resource
        raise GraphError(400, "InvalidRequest", "clientState exceeds 128 characters.")
    return body


def shake_hands(*urls: str | None) -> None:
    """Ask every URL to echo a token, within ten seconds. Blocks: call it in a thread.

    Raises:
        GraphError: one does not.
    """
    for url in urls:
        if url and not _echoes(url):
            raise GraphError(400, "ValidationError", "Subscription validation request failed.")


def notification(
    subscription: dict[str, Any], *, mailbox: str, event_id: str, etag: str, change: str
) -> dict[str, Any]:
    resource = f"Users/{uuid.uuid5(uuid.NAMESPACE_OID, mailbox)}/Events/{event_id}"
    return {
        "id": str(uuid.uuid4()),
        "subscriptionId": subscription["id"],
        "subscriptionExpirationDateTime": subscription["expirationDateTime"],
        "clientState": subscription["clientState"],
        "changeType": change,
        "resource": resource,
        "tenantId": "00000000-0000-0000-0000-0000000e4a11",
        "resourceData": {
            "@odata.type": "#Microsoft.Graph.Event",
            "@odata.id": resource,
            "@odata.etag": etag,
            "id": event_id,
        },
    }


def deliver(url: str, item: dict[str, Any]) -> None:
    """Send one notification in the background, a few times if need be; no order is promised."""
    threading.Thread(target=_deliver, args=(url, item), daemon=True).start()


def _deliver(url: str, item: dict[str, Any]) -> None:
    for pause in DELIVERY_PAUSES:
        time.sleep(pause)
        try:
            if requests.post(url, json={"value": [item]}, timeout=DELIVERY_SECONDS, allow_redirects=False).ok:
                return
        except requests.RequestException as error:
            log.debug("notification not delivered: %s", type(error).__name__)


def _echoes(url: str) -> bool:
    token = f"Validation: Testing client application reachability {uuid.uuid4()}"
    try:
        answer = requests.post(
            url,
            params={"validationToken": token},
            headers={"Content-Type": "text/plain; charset=utf-8"},
            timeout=HANDSHAKE_SECONDS,
            allow_redirects=False,
        )
    except requests.RequestException:
        return False
    is_text = answer.headers.get("Content-Type", "").startswith("text/plain")
    return answer.status_code == requests.codes.ok and is_text and answer.text == token


def _expiry(body: dict[str, Any]) -> str:
    """Less than 45 minutes is raised, more than a week refused (msgraph-sdk subscription.py; Graph: subscription)."""
    now = datetime.now(UTC)
    try:
        wanted = datetime.fromisoformat(body["expirationDateTime"])
        wanted = wanted if wanted.tzinfo else wanted.replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        raise GraphError(400, "InvalidRequest", "expirationDateTime is not a time.") from None
    if not now < wanted <= now + LONGEST + timedelta(minutes=1):
        raise GraphError(400, "ExtensionError", "Subscription expiration can only be 10080 minutes in the future.")
    return dump_time(max(wanted, now + SHORTEST))
