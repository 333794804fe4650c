"""Google's error envelope, read into the error tree.

Source: developers.google.com/workspace/calendar/api/guides/errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import requests

from providers.gates import WritesExhausted
from providers.transport import retry_after
from sync.errors import CursorExpired, NoSuchRight, ProviderUnavailable, RateLimited, Rejected, WatertightError

# "Calendar usage limits exceeded" makes a calendar read-only for hours (google-api-nodejs-client#3422): trying again
# within minutes only prolongs it.
USAGE_LIMIT_SECONDS = 3600.0

_RATE_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_USAGE_REASONS = frozenset({"quotaExceeded", "calendarUsageLimits", "dailyLimitExceeded"})
_CURSOR_REASONS = frozenset({"fullSyncRequired", "updatedMinTooLongAgo"})
_CODE = re.compile(r"[A-Za-z0-9_]{1,64}")


class DuplicateId(Rejected):
    """409: an event with the chosen id exists, or existed once."""


def classify(status: int, headers: Mapping[str, str], body: dict[str, Any]) -> WatertightError | None:
    """Google's own reading of an answer; None leaves it to the status."""
    if status // 100 == 2:  # noqa: PLR2004 - the 2xx class
        return ProviderUnavailable(f"google: {status} with an error inside") if "error" in body else None
    reason, location = _first_error(body)
    where = f"google: {status} {reason}"
    match status:
        case requests.codes.forbidden | requests.codes.too_many_requests:
            return _limit(reason, where=where, asked=retry_after(headers))
        case requests.codes.bad_request if location == "syncToken" or "sync token" in _message(body):
            return CursorExpired(where)
        case requests.codes.gone if reason in _CURSOR_REASONS or location == "syncToken":
            return CursorExpired(where)
        case requests.codes.conflict:
            # "conflict" is a clash of two writes inside Google and passes; every other 409 is about the id.
            return ProviderUnavailable(where) if reason == "conflict" else DuplicateId(where)
        case _:
            return None


def _limit(reason: str, *, where: str, asked: float | None) -> RateLimited | NoSuchRight | None:
    """403 means "not allowed" as well as "too fast"; only the reason tells."""
    if reason == "insufficientPermissions":
        return NoSuchRight(where)
    if reason in _USAGE_REASONS:
        return WritesExhausted(where, retry_after=max(asked or 0.0, USAGE_LIMIT_SECONDS))
    return RateLimited(where, retry_after=asked) if reason in _RATE_REASONS else None


def _first_error(body: dict[str, Any]) -> tuple[str, str]:
    """Reason and location, empty where the envelope is not the documented one."""
    match body:
        case {"error": {"errors": [{**first}, *_]}}:
            return _code(first.get("reason")), _code(first.get("location"))
        case _:
            return "", ""


def _code(value: object) -> str:
    # Only identifiers: whatever else stands here must not reach a log (P12).
    return value if isinstance(value, str) and _CODE.fullmatch(value) else ""


def _message(body: dict[str, Any]) -> str:
    match body:
        case {"error": {"message": str(message)}}:
            return message.lower()
        case _:
            return ""
