"""What an answer, or none, means in the error tree."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import requests

from sync.errors import (
    CredentialRevoked,
    Forbidden,
    NotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    StaleVersion,
    Transient,
    WatertightError,
    WriteOutcomeUnknown,
)

MOST_RETRY_AFTER_SECONDS = 86_400.0
"""A vendor that asks for more is asked again after a day; a figure that no calendar holds must not stop us for good."""

_BY_STATUS: dict[int, type[WatertightError]] = {
    401: CredentialRevoked,
    403: Forbidden,
    404: NotFound,
    408: ProviderUnavailable,
    410: NotFound,
    412: StaleVersion,
    425: ProviderUnavailable,
}


def by_status(status: int, *, where: str, retry_after: float | None = None) -> WatertightError | None:
    """Every status lands in exactly one branch; 2xx is no error. A 3xx is: we follow no redirects."""
    if status // 100 == 2:  # noqa: PLR2004 - the 2xx class
        return None
    if status == requests.codes.too_many_requests:
        return RateLimited(where, retry_after=retry_after)
    otherwise = Rejected if status // 100 == 4 else ProviderUnavailable  # noqa: PLR2004 - the 4xx class
    return _BY_STATUS.get(status, otherwise)(where)


def map_exception(error: Exception, *, vendor: str, route: str, reading: bool) -> Transient:
    """Every exception of requests is Transient; for a write that may have left, the outcome is unknown."""
    where = f"{vendor} {route}: {type(error).__name__}"
    never_sent = isinstance(error, requests.ConnectTimeout)
    if not reading and not never_sent:
        return WriteOutcomeUnknown(where)
    return ProviderTimeout(where) if isinstance(error, requests.Timeout) else ProviderUnavailable(where)


def retry_after(headers: Mapping[str, str], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Seconds from a Retry-After header in either of its two spellings (RFC 9110 §10.2.3), None if absent or odd."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MOST_RETRY_AFTER_SECONDS)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, (at - now()).total_seconds()), MOST_RETRY_AFTER_SECONDS) if at.tzinfo else None
