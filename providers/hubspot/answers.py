"""HubSpot's error envelope, read into the error tree.

Source: developers.hubspot.com/docs/api-reference/latest/error-handling. Every field of the envelope is optional there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import requests

from providers.transport import retry_after
from sync.errors import (
    Contention,
    NoSuchRight,
    ProviderUnavailable,
    RateLimited,
    WatertightError,
)

# HubSpot does not promise a Retry-After with its limits: these are the windows that the policies are named after. The
# daily one ends at midnight of the account's zone, which we do not know; asking again within minutes only adds to it.
SECONDLY_SECONDS = 1.0
TEN_SECONDLY_SECONDS = 10.0
DAILY_SECONDS = 3600.0
LOCKED_SECONDS = 2.0
MIGRATION_SECONDS = 3600.0

_WINDOWS = {"secondly": SECONDLY_SECONDS, "ten_secondly_rolling": TEN_SECONDLY_SECONDS, "daily": DAILY_SECONDS}
_CODE = re.compile(r"[A-Za-z0-9_]{1,64}")


def classify(status: int, headers: Mapping[str, str], body: dict[str, Any]) -> WatertightError | None:
    """HubSpot's own reading of an answer; None leaves it to the status."""
    category = _code(body.get("category"))
    where = f"hubspot: {status} {category}".rstrip()
    if status // 100 == 2:  # noqa: PLR2004 - the 2xx class
        return ProviderUnavailable(f"{where} with an error inside") if _has_error_inside(status, body) else None
    match status:
        case requests.codes.forbidden if category == "MISSING_SCOPES":
            return NoSuchRight(where)
        case requests.codes.too_many_requests | requests.codes.locked | 477:
            return RateLimited(where, retry_after=_wait(status, body, asked=retry_after(headers)))
        case requests.codes.conflict:
            return Contention(where)  # two writes of one record; a meeting has nothing unique to clash about
        case _:
            return None


def _has_error_inside(status: int, body: dict[str, Any]) -> bool:
    """A batch answers COMPLETE with errors beside its results; other answers carry the envelope in spite of 200."""
    told = body.get("status") == "error" or bool(body.get("errors")) or bool(body.get("numErrors"))
    return told or status == requests.codes.multi_status


def _wait(status: int, body: dict[str, Any], *, asked: float | None) -> float | None:
    """Seconds to wait; None if nobody says how long."""
    if status != requests.codes.too_many_requests:
        usual = LOCKED_SECONDS if status == requests.codes.locked else MIGRATION_SECONDS
        return usual if asked is None else asked
    return max(asked or 0.0, _window(body)) or None


def _window(body: dict[str, Any]) -> float:
    """Seconds that the exceeded policy counts over; 0 if it is not one we know."""
    policy = _code(body.get("policyName")).lower()
    if not policy:
        message = str(body.get("message", "")).lower()
        policy = next((name for name in ("ten_secondly_rolling", "secondly", "daily") if name in message), "")
    return _WINDOWS.get(policy, 0.0)


def _code(value: object) -> str:
    # Only identifiers: whatever else stands here must not reach a log (P12).
    return value if isinstance(value, str) and _CODE.fullmatch(value) else ""
