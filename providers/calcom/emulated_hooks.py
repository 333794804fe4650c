"""The webhooks that are registered, and what they are told: each booking once, and never again if it got lost.

Source: calcom/cal.com, ``packages/features/webhooks/lib/service/WebhookService.ts``, ``sendPayload.ts`` and
``factory/versioned/v2021-10-20/BookingPayloadBuilder.ts``. They are remembered until a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from providers.calcom.emulated_booking import Booking, Refusal, shown_time
from providers.emulated_outbox import Message, Outbox

Hook = dict[str, Any]

VERSION = "2021-10-20"

_FIELDS = ("subscriberUrl", "triggers", "active", "secret", "payloadTemplate")
_CANCELLED = "BOOKING_CANCELLED"
_RESCHEDULED = "BOOKING_RESCHEDULED"
_TRIGGERS = {"cancelled": _CANCELLED, "rejected": "BOOKING_REJECTED", "pending": "BOOKING_REQUESTED"}


@dataclass(frozen=True, slots=True)
class _Registered:
    """``owner`` is the host whose key registered it; None for an administrator, who hears of everybody."""

    owner: str | None
    hook: Hook


class Hooks:
    """By id, each its owner's."""

    def __init__(self) -> None:
        self._hooks: dict[str, _Registered] = {}
        self._outbox = Outbox("calcom-push")

    def open(self, body: Hook, *, owner: str | None) -> Hook:
        """Register one.

        Raises:
            Refusal: 400, it has no address or no triggers.
        """
        if not body.get("subscriberUrl") or not body.get("triggers") or not isinstance(body.get("active"), bool):
            raise Refusal(400, "BadRequestException", "subscriberUrl, triggers and active are required")
        hook = {"id": str(uuid.uuid4()), **{name: body[name] for name in _FIELDS if name in body}}
        self._hooks[hook["id"]] = _Registered(owner, hook)
        return hook

    def change(self, name: str, body: Hook | None) -> Hook:
        """Change one, or delete it for None; the answer is the webhook either way.

        Raises:
            Refusal: 404.
        """
        known = self._hooks.pop(name, None)
        if known is None:
            raise Refusal(404, "NotFoundException", f"Webhook with id {name} not found")
        if body is None:
            return known.hook
        hook = known.hook | {field: body[field] for field in _FIELDS if field in body}
        self._hooks[name] = _Registered(known.owner, hook)
        return hook

    def tell(self, host: str, booking: Booking, *, before: Booking | None = None) -> None:
        """Tell whoever wants to know how a booking stands now; ``before`` is the one that it replaces."""
        trigger = _RESCHEDULED if before else _TRIGGERS.get(str(booking.get("status")), "BOOKING_CREATED")
        created = shown_time(datetime.now(UTC))
        for known in list(self._hooks.values()):
            hook = known.hook
            if known.owner in (None, host) and hook["active"] and trigger in hook["triggers"]:
                envelope = {"triggerEvent": trigger, "createdAt": created, "payload": _payload(booking, before)}
                self._send(hook, json.dumps(envelope).encode())

    def _send(self, hook: Hook, body: bytes) -> None:
        secret = str(hook.get("secret") or "")
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() if secret else "no-secret-provided"
        headers = {"X-Cal-Signature-256": signature, "X-Cal-Webhook-Version": VERSION}
        self._outbox.put(Message(str(hook["subscriberUrl"]), body, lambda: headers))


def _payload(booking: Booking, before: Booking | None) -> dict[str, Any]:
    gone = booking.get("status") == "cancelled"
    start, end = (_spelled(booking.get(name), gone=gone) for name in ("start", "end"))
    shown = {
        "type": "viewing",
        "title": booking.get("title"),
        "eventTypeId": booking.get("eventTypeId"),
        "startTime": start,
        "endTime": end,
        "uid": booking.get("uid"),
        "bookingId": booking.get("id"),
        "iCalUID": booking.get("icsUid"),
        "status": str(booking.get("status")).upper(),
        "organizer": next(iter(booking.get("hosts") or [{}])),
        "attendees": booking.get("attendees"),
        "metadata": booking.get("metadata"),
        "location": booking.get("location"),
        "length": booking.get("duration"),
        "destinationCalendar": [] if gone else None,
    }
    if gone:
        shown |= {"cancellationReason": booking.get("cancellationReason"), "price": None}
    if before:
        shown |= {"rescheduleId": before.get("id"), "rescheduleUid": before.get("uid")}
        shown |= {"rescheduleStartTime": before.get("start"), "rescheduleEndTime": before.get("end")}
    return shown


def _spelled(moment: object, *, gone: bool) -> object:
    """A cancellation spells times with an offset, everything else with a Z."""
    return moment.replace("Z", "+00:00") if gone and isinstance(moment, str) else moment
