"""The one door to the network: explicit timeouts, checks of status and body, the error tree, Retry-After, redaction.

Error messages and logs carry vendor, route template, status and the vendor's error code; never a URL with an address in
it, a header, a body or a token (P12).
"""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import requests
import structlog
import tenacity

from sync.errors import (
    CredentialReadOnly,
    CredentialRevoked,
    Forbidden,
    NoSuchRight,
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

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
QUICK_ATTEMPTS = 3
QUICK_RETRY_AFTER_SECONDS = 2.0  # a longer Retry-After is for Celery or the row's not_before, not for a sleeping thread
MAX_BODY_BYTES = 16 * 1024 * 1024

_JITTER = tenacity.wait_random_exponential(multiplier=0.2, max=2)

log = structlog.get_logger(__name__)

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class TokenAuth(Protocol):
    """A vendor's token flow. Single-flight and thread-safe; knows nothing of the database."""

    def token(self) -> str:
        """A valid access token, from cache while it lasts.

        Raises:
            CredentialRevoked: the vendor refuses the credential.
            Transient: the token endpoint did not answer usefully.
        """
        ...

    def forget(self, token: str) -> None:
        """The API refused ``token``: do not hand it out again."""
        ...


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A key that a person made once (``TokenAuth``). Refused, it stays refused until somebody sets another."""

    key: str = field(repr=False)

    def token(self) -> str:
        return self.key

    def forget(self, token: str) -> None:
        """Nothing to forget: there is no other."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A vendor's answer after the body check. ``body`` is empty for answers without one."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


Classify = Callable[[int, Mapping[str, str], dict[str, Any]], WatertightError | None]
"""A vendor's own reading of an answer (also of a 2xx one); None leaves it to ``by_status``."""


def no_guard() -> None:
    """Let every request through."""


def nobody(_call: str) -> None:
    """Tell nobody."""


class Transport:
    """Requests to one vendor for one account. ``refused`` hears of every write that the vendor forbids this credential.

    One ``requests.Session`` per thread, since sessions are not thread-safe.
    """

    def __init__(
        self,
        vendor: str,
        *,
        auth: TokenAuth,
        classify: Classify,
        guard: Callable[[], None] = no_guard,
        refused: Callable[[str], None] = nobody,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    ) -> None:
        self._vendor = vendor
        self._auth = auth
        self._classify = classify
        self._guard = guard
        self._refused = refused
        self._timeout = timeout
        self._local = threading.local()

    def request(
        self,
        method: Method,
        url: str,
        *,
        route: str,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        keyed: bool = False,
        empty: bool = False,
    ) -> Answer:
        """One request and its checked answer.

        ``route`` is the template for logs (``/users/{user}/events``). A GET, and a write that is ``keyed`` (the vendor
        recognises a repetition), is retried for a few seconds; nothing else ever is. ``empty`` says that the vendor
        answers this without a body.

        Raises:
            WatertightError: any branch. A write without an answer is WriteOutcomeUnknown.
        """
        self._guard()
        reading = method == "GET"

        def once() -> Answer:
            return self._once(method, url, route=route, params=params, json=json, headers=headers, empty=empty)

        if not (reading or keyed):
            return once()
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(QUICK_ATTEMPTS),
            wait=_quick_wait,
            retry=tenacity.retry_if_exception(_worth_a_quick_retry),
            reraise=True,
        )
        return retrying(once)

    def _once(
        self,
        method: Method,
        url: str,
        *,
        route: str,
        params: Mapping[str, str] | None,
        json: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        empty: bool,
    ) -> Answer:
        token = self._auth.token()
        response = self._send(method, url, route=route, params=params, json=json, headers=headers, token=token)
        if response.status_code == requests.codes.unauthorized:
            self._auth.forget(token)  # expired early or rotated: one new token, then believe the refusal
            token = self._auth.token()
            response = self._send(method, url, route=route, params=params, json=json, headers=headers, token=token)
        return self._read(response, method=method, route=route, empty=empty)

    def _send(
        self,
        method: Method,
        url: str,
        *,
        route: str,
        params: Mapping[str, str] | None,
        json: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        token: str,
    ) -> requests.Response:
        started = time.monotonic()
        try:
            response = self._session().request(
                method,
                url,
                params=params,
                json=json,
                headers={"Accept": "application/json", **(headers or {}), "Authorization": f"Bearer {token}"},
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            log.warning("vendor.no_answer", vendor=self._vendor, route=f"{method} {route}", error=type(error).__name__)
            raise map_exception(
                error, vendor=self._vendor, route=f"{method} {route}", reading=method == "GET"
            ) from None
        log.debug(
            "vendor.answer",
            vendor=self._vendor,
            route=f"{method} {route}",
            status=response.status_code,
            seconds=round(time.monotonic() - started, 3),
        )
        return response

    def _read(self, response: requests.Response, *, method: Method, route: str, empty: bool) -> Answer:
        where = f"{self._vendor} {method} {route}: {response.status_code}"
        body = _parse_body(response)
        error = self._classify(response.status_code, response.headers, body or {})
        if error is None:
            error = by_status(response.status_code, where=where, retry_after=retry_after(response.headers))
        if error is None and body is None and not empty:
            error = ProviderUnavailable(f"{where} without a readable JSON object")
        if isinstance(error, ProviderUnavailable) and method != "GET":
            # The vendor may have stored the write before it failed to say so.
            error = WriteOutcomeUnknown(str(error))
        if isinstance(error, NoSuchRight) and method != "GET":
            self._refused(f"{method} {route} at {self._vendor}")
            error = CredentialReadOnly(str(error))
        if error is not None:
            raise error
        return Answer(response.status_code, response.headers, body or {})

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False  # no proxy or netrc of the machine decides where customer data goes
            self._local.session = session
        return session


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


def map_exception(error: requests.RequestException, *, vendor: str, route: str, reading: bool) -> Transient:
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
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at - now()).total_seconds()) if at.tzinfo else None


def _parse_body(response: requests.Response) -> dict[str, Any] | None:
    if not response.content or len(response.content) > MAX_BODY_BYTES:
        return None
    try:
        body = response.json()
    except (ValueError, RecursionError):  # the second: nested thousands of levels deep
        return None
    return body if isinstance(body, dict) else None


def _worth_a_quick_retry(error: BaseException) -> bool:
    if isinstance(error, RateLimited):
        return error.retry_after is not None and error.retry_after <= QUICK_RETRY_AFTER_SECONDS
    return isinstance(error, ProviderUnavailable | WriteOutcomeUnknown) and not isinstance(error, ProviderTimeout)


def _quick_wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after or 0.0 if isinstance(error, Transient) else 0.0
    return max(asked, _JITTER(state))
