"""What Google pushes: headers and no body (developers.google.com/workspace/calendar/api/guides/push)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from providers.received import Proof, Received
from sync.errors import Malformed, Unproven
from sync.pushes import Push, key_of

PROVIDER: Final = "google"
STATES: Final = ("exists", "not_exists")
_LONGEST_NUMBER: Final = 20


def read(received: Received, proof: Proof, *, now: datetime) -> list[Push]:  # noqa: ARG001 - one shape for all vendors
    """That something changed, not what. ``sync`` only says that the channel is open.

    Raises:
        Malformed: a header is missing; names it.
        Unproven: the token is not ours.
    """
    calendar_id = proof.secrets.calendar_of(PROVIDER, received.headers.get("x-goog-channel-token") or "")
    if calendar_id is None:
        raise Unproven("wrong_channel_token")
    channel, state = (_header(received, name) for name in ("X-Goog-Channel-ID", "X-Goog-Resource-State"))
    if state == "sync":
        return []
    if state not in STATES:
        raise Malformed("X-Goog-Resource-State", "is none of sync, exists, not_exists")
    number = _header(received, "X-Goog-Message-Number")
    if not number.isdecimal() or len(number) > _LONGEST_NUMBER:
        raise Malformed("X-Goog-Message-Number", "is not a number")
    return [Push(key_of(channel, number), calendar_id, channel)]


def _header(received: Received, name: str) -> str:
    value = received.headers.get(name.lower())
    if not value:
        raise Malformed(name, "is missing")
    return value
