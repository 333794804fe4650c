"""The one door to the network: limits, deadlines, checks of status and body, the error tree, retries, redaction.

Error messages and logs carry vendor, route template, status and the vendor's error code; never a URL with an address in
it, a header, a body or a token (P12).
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import requests
import structlog
import tenacity
import urllib3

from providers.bodies import parse_object, read_body
from providers.deadlines import DEADLINE_SECONDS, new_session, within
from providers.gates import OPEN, Gate, NoRoom, WritesExhausted
from providers.observed import observed
from providers.verdicts import by_status, map_exception, retry_after
from sync.errors import (
    CredentialReadOnly,
    NoSuchRight,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    Transient,
    WatertightError,
    WriteOutcomeUnknown,
)

__all__ = [
    "CONNECT_SECONDS",
    "READ_SECONDS",
    "Answer",
    "Classify",
    "Method",
    "StaticToken",
    "TokenAuth",
    "Transport",
    "by_status",
    "map_exception",
    "no_guard",
    "nobody",
    "retry_after",
]

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0  # between two bytes; DEADLINE_SECONDS is for all of them
QUICK_ATTEMPTS = 3
QUICK_RETRY_AFTER_SECONDS = 2.0  # a longer Retry-After is for Celery or the row's not_before, not for a sleeping thread

_JITTER = tenacity.wait_random_exponential(multiplier=0.2, max=2)  # full jitter

# What requests lets through of the libraries below it; the last for a header that is not Latin-1.
_NO_ANSWER = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError)

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


@dataclass(frozen=True, slots=True)
class _Question:
    """One request, without its token."""

    method: Method
    url: str
    route: str
    params: Mapping[str, str] | None
    json: Mapping[str, Any] | None
    headers: Mapping[str, str] | None
    reading: bool
    empty: bool

    @property
    def name(self) -> str:
        return f"{self.method} {self.route}"


@dataclass(frozen=True, slots=True)
class _Reply:
    """What came back, unread. ``content`` is None where there was more than we take."""

    status: int
    headers: Mapping[str, str]
    content: bytes | None


class Transport:
    """Requests to one vendor for one account. ``refused`` hears of every write that the vendor forbids this credential.

    Every request passes the ``gate`` and must be answered in full within ``deadline`` seconds. One ``requests.Session`` per
    thread, since sessions are not thread-safe.
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
        deadline: float = DEADLINE_SECONDS,
        gate: Gate = OPEN,
    ) -> None:
        self._vendor = vendor
        self._auth = auth
        self._classify = classify
        self._guard = guard
        self._refused = refused
        self._timeout = timeout
        self._deadline = deadline
        self._gate = gate
        self._local = threading.local()

    def behind(self, gate: Gate) -> Self:
        """The same transport, tokens and connections included, for another account's limits."""
        other = copy.copy(self)
        other._gate = gate  # noqa: SLF001 - one of its own kind
        return other

    def request(
        self,
        method: Method,
        url: str,
        *,
        route: str,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        reading: bool = False,
        keyed: bool = False,
        empty: bool = False,
    ) -> Answer:
        """One request and its checked answer.

        ``route`` is the template for logs and limits (``/users/{user}/events``). What is ``reading`` (every GET, and a POST
        that only asks), and a write that is ``keyed`` (the vendor recognises a repetition), is retried for a few seconds;
        nothing else ever is. ``empty`` says that the vendor answers this without a body.

        Raises:
            WatertightError: any branch. A write without an answer is WriteOutcomeUnknown; NoRoom was not sent.
        """
        self._guard()
        reading = reading or method == "GET"
        question = _Question(method, url, route, params, json, headers, reading=reading, empty=empty)
        if not (reading or keyed):
            return self._once(question)
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(QUICK_ATTEMPTS),
            wait=_quick_wait,
            retry=tenacity.retry_if_exception(_worth_a_quick_retry),
            reraise=True,
        )
        return retrying(self._once, question)

    def _once(self, question: _Question) -> Answer:
        token = self._auth.token()
        reply = self._ask(question, token)
        if reply.status == requests.codes.unauthorized:
            self._auth.forget(token)  # expired early or rotated: one new token, then believe the refusal
            reply = self._ask(question, self._auth.token())
        body = parse_object(reply.content) if reply.content else None
        error = self._error(question, reply, body)
        if isinstance(error, RateLimited) and not isinstance(error, WritesExhausted):
            self._gate.park(error.retry_after)
        if error is not None:
            raise error
        return Answer(reply.status, reply.headers, body or {})

    def _ask(self, question: _Question, token: str) -> _Reply:
        started = time.monotonic()
        told = {"method": question.method, "route": question.route}
        try:
            with self._gate.enter(route=question.route), within(self._deadline), observed(self._vendor, **told) as call:
                reply = self._send(question, token)
                call.status = str(reply.status)
        except _NO_ANSWER as error:
            name = type(error).__name__
            log.warning("vendor.no_answer", vendor=self._vendor, route=question.name, error=name)
            raise map_exception(error, vendor=self._vendor, route=question.name, reading=question.reading) from None
        seconds = round(time.monotonic() - started, 3)
        log.debug("vendor.answer", vendor=self._vendor, route=question.name, status=reply.status, seconds=seconds)
        return reply

    def _send(self, question: _Question, token: str) -> _Reply:
        response = self._session().request(
            question.method,
            question.url,
            params=question.params,
            json=question.json,
            headers={"Accept": "application/json", **(question.headers or {}), "Authorization": f"Bearer {token}"},
            timeout=self._timeout,
            allow_redirects=False,
            stream=True,
        )
        try:
            return _Reply(response.status_code, response.headers, read_body(response))
        except requests.RequestException:
            if response.status_code != requests.codes.too_many_requests:
                raise
            return _Reply(response.status_code, response.headers, None)  # its headers say all that matters

    def _error(self, question: _Question, reply: _Reply, body: dict[str, Any] | None) -> WatertightError | None:
        where = f"{self._vendor} {question.name}: {reply.status}"
        error = self._classify(reply.status, reply.headers, body or {})
        if error is None:
            error = by_status(reply.status, where=where, retry_after=retry_after(reply.headers))
        if error is None and body is None and not question.empty:
            error = ProviderUnavailable(f"{where} without a readable JSON object")
        if isinstance(error, ProviderUnavailable) and not question.reading:
            # The vendor may have stored the write before it failed to say so.
            error = WriteOutcomeUnknown(str(error))
        if isinstance(error, NoSuchRight) and not question.reading:
            self._refused(f"{question.name} at {self._vendor}")
            error = CredentialReadOnly(str(error))
        return error

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = new_session()
        return session


def _worth_a_quick_retry(error: BaseException) -> bool:
    if isinstance(error, NoRoom):
        return False  # it has waited at the gate already
    if isinstance(error, RateLimited):
        return error.retry_after is not None and error.retry_after <= QUICK_RETRY_AFTER_SECONDS
    return isinstance(error, ProviderUnavailable | WriteOutcomeUnknown) and not isinstance(error, ProviderTimeout)


def _quick_wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after or 0.0 if isinstance(error, Transient) else 0.0
    return max(asked, _JITTER(state))
