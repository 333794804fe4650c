"""Cal.com's error envelope, read into the error tree.

Source: calcom/cal.com, ``apps/api/v2/src/filters/http-exception.filter.ts`` (the envelope),
``…/2024-08-13/services/errors.service.ts`` (what is a 400) and the public page on rate limits.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import requests

from providers.transport import retry_after
from sync.errors import CredentialRevoked, NoSuchRight, ProviderUnavailable, RateLimited, Rejected, WatertightError

TOKEN_EXPIRED = 498  # not a status of HTTP: @calcom/atoms names it for a token that has run out

# What the vendor says in English only. A new wording leaves the general refusal, so nothing depends on it but a name.
_TAKEN = "already has booking at this time"
_NO_RIGHT = re.compile(r"permissionsguard|insufficient_scope|required (?:permission|scope)")
_CODE = re.compile(r"[A-Za-z0-9_]{1,64}")
_EPOCH_SECONDS = re.compile(r"\d{9,11}", re.ASCII)


class SlotTaken(Rejected):
    """400: the host has another booking at this time, or is not available. Here this is not a 409."""


def classify(status: int, headers: Mapping[str, str], body: dict[str, Any]) -> WatertightError | None:
    """Cal.com's own reading of an answer; None leaves it to the status."""
    if status // 100 == 2:  # noqa: PLR2004 - the 2xx class
        return ProviderUnavailable(f"calcom: {status} with an error inside") if _is_error(body) else None
    code, message = _error(body)
    where = f"calcom: {status} {code}".rstrip()
    match status:
        case _ if status == TOKEN_EXPIRED:
            return CredentialRevoked(where)
        case requests.codes.bad_request if _TAKEN in message:
            return SlotTaken(f"{where}: the time is taken")
        case requests.codes.forbidden if _NO_RIGHT.search(message):
            return NoSuchRight(where)
        case requests.codes.too_many_requests:
            return RateLimited(where, retry_after=_delay(headers))
        case _:
            return None


def _is_error(body: dict[str, Any]) -> bool:
    return body.get("status") == "error" or "error" in body


def _delay(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Seconds: Retry-After, else until the moment at which the vendor starts to count anew."""
    asked = retry_after(headers)
    resets = headers.get("X-RateLimit-Reset-Default", "")
    if asked is not None or not _EPOCH_SECONDS.fullmatch(resets):
        return asked
    return min(max(0.0, int(resets) - (time.time() if now is None else now)), 3600.0)


def _error(body: dict[str, Any]) -> tuple[str, str]:
    """Code and message (for recognition only: it may name people), empty where the envelope is not the documented one."""
    match body:
        case {"error": {"code": str(code), "message": str(message)}}:
            return code if _CODE.fullmatch(code) else "", message.lower()
        case _:
            return "", ""
