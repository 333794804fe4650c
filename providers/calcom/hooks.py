"""What Cal.com pushes: one booking at a time, signed with the webhook's own secret, and never again if it got lost.

Source: calcom/cal.com, ``packages/features/webhooks/lib/service/WebhookService.ts``, ``sendPayload.ts``. The signature knows
no time, so a delivery can be replayed: the same body is the same push.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime
from typing import Final

from providers.received import Proof, Received, is_same, read_json
from sync.domain import CalendarId, RemoteId
from sync.errors import Malformed, Unproven
from sync.pushes import Push, Told, key_of

PROVIDER: Final = "calcom"
CALENDAR: Final = "calendar"  # the parameter of our address that says whose webhook it is
SIGNATURE: Final = "x-cal-signature-256"
UNSIGNED: Final = "no-secret-provided"  # what stands in the signature's place where a webhook has no secret

# A rescheduling may be announced as a request (cal.diy#21169), so that one is looked at by every job.
TOLD: Final = {
    "BOOKING_CREATED": Told.CREATED,
    "BOOKING_PAID": Told.CREATED,
    "BOOKING_RESCHEDULED": Told.UPDATED,
    "BOOKING_CANCELLED": Told.DELETED,
    "BOOKING_REJECTED": Told.DELETED,
    "BOOKING_REQUESTED": None,
}
_NUMBER: Final = re.compile(r"[1-9]\d{0,8}", re.ASCII)


def read(received: Received, proof: Proof, *, now: datetime) -> list[Push]:  # noqa: ARG001 - one shape for all vendors
    """The booking that changed; nothing for triggers that are about no booking (meetings that began, recordings, forms).

    Raises:
        Malformed: it is not what Cal.com sends; names the field.
        Unproven: not signed with this calendar's secret.
    """
    calendar_id = _calendar_of(received)
    given = received.headers.get(SIGNATURE) or ""
    secret = proof.secrets.of(PROVIDER, calendar_id).encode()
    if given == UNSIGNED:
        raise Unproven("no_secret_provided")
    if not is_same(given.lower(), hmac.new(secret, received.body, hashlib.sha256).hexdigest()):
        raise Unproven("wrong_signature")
    body = read_json(received.body)
    trigger = body["triggerEvent"].text()
    if trigger not in TOLD:
        return []
    uid = body["payload"]["uid"].text()
    return [
        Push(
            key_of(calendar_id, hashlib.sha256(received.body).hexdigest()),
            calendar_id,
            told=TOLD[trigger],
            event=RemoteId(uid),
        )
    ]


def _calendar_of(received: Received) -> CalendarId:
    named = received.query.get(CALENDAR) or ""
    if not _NUMBER.fullmatch(named):
        raise Malformed(CALENDAR, "is not the number of a calendar")
    return CalendarId(int(named))
