"""Who may ask, and how often: bearer tokens and Graph's throttling (Graph: throttling-limits.md)."""

from __future__ import annotations

import secrets
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from typing import Final

from providers.outlook.emulated_events import GraphError

TOKEN_SECONDS: Final = 3599
# At once per mailbox: texts differ on the scope, and this is the narrowest. In ten minutes per app and mailbox.
LIMITS: Final = {"at_once": 4, "per_ten_minutes": 10_000}
_TEN_MINUTES_SECONDS: Final = 600.0
_READ_ONLY: Final = ".r"


class Tokens:
    """The access tokens that have been handed out. A restart forgets them, and clients must fetch new ones."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._apps: dict[str, str] = {}

    def issue(self, client_id: str = "") -> str:
        """For a client whose name ends in ``-reader`` one that may only read: its app registration has no more."""
        token = secrets.token_urlsafe(32) + (_READ_ONLY if client_id.endswith("-reader") else "")
        self._until[token] = time.monotonic() + TOKEN_SECONDS
        self._apps[token] = client_id
        return token

    def app_of(self, authorization: str) -> str:
        """Whose token it is; empty for none of ours."""
        return self._apps.get(authorization.removeprefix("Bearer "), "")

    def require(self, authorization: str) -> None:
        """Raises GraphError: 401."""
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or self._until.get(token, 0.0) <= time.monotonic():
            raise GraphError(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")

    def require_right(self, authorization: str, method: str, path: str) -> None:
        """Raises GraphError: 403 (Graph: resolve-auth-errors.md). Subscriptions need no more than reading."""
        if authorization.endswith(_READ_ONLY) and method != "GET" and "/events" in path:
            raise GraphError(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")

    def expire(self) -> None:
        self._until.clear()


class Throttle:
    """Refuses what goes over a mailbox's limits, and counts each refusal in ``exceeded``."""

    def __init__(self, limits: Mapping[str, int], exceeded: Counter[str]) -> None:
        self._limits = limits
        self._exceeded = exceeded
        self._recent: dict[tuple[str, str], deque[float]] = defaultdict(deque)

    def admit(self, mailbox: str, *, app: str, at_once: int) -> None:
        """Count a request in.

        Raises:
            GraphError: 429.
        """
        now, recent = time.monotonic(), self._recent[app, mailbox]
        recent.append(now)
        while recent[0] < now - _TEN_MINUTES_SECONDS:
            recent.popleft()
        if at_once > self._limits["at_once"]:
            self._refuse("concurrency", "Application is over its MailboxConcurrency limit.")
        if len(recent) > self._limits["per_ten_minutes"]:
            self._refuse("requests", "Application is over its request limit.")

    def _refuse(self, limit: str, message: str) -> None:
        self._exceeded[limit] += 1
        raise GraphError(429, "ApplicationThrottled", message, headers={"Retry-After": "1"})


def openid_configuration(tenant: str) -> dict[str, str]:
    """Nothing but https is accepted here by msal, so they are Microsoft's own."""
    login = f"https://login.microsoftonline.com/{tenant}"
    return {
        "issuer": f"{login}/v2.0",
        "authorization_endpoint": f"{login}/oauth2/v2.0/authorize",
        "token_endpoint": f"{login}/oauth2/v2.0/token",
        "jwks_uri": f"{login}/discovery/v2.0/keys",
    }
