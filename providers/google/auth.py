"""Google's token flow: a service account acts for one person (domain-wide delegation).

Source: google-auth 2.62 ``google.oauth2.service_account``; developers.google.com/identity/protocols/oauth2/service-account.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import google.auth.exceptions
import google.auth.transport.requests
import requests
from google.oauth2 import service_account

from providers.deadlines import DEADLINE_SECONDS, new_session, within
from providers.transport import CONNECT_SECONDS, READ_SECONDS, retry_after
from sync.errors import CredentialRevoked, ProviderTimeout, ProviderUnavailable, RateLimited

WRITING = "https://www.googleapis.com/auth/calendar"
READING = "https://www.googleapis.com/auth/calendar.readonly"

_REFUSALS = frozenset({requests.codes.bad_request, requests.codes.unauthorized, requests.codes.forbidden})


@dataclass(frozen=True, slots=True)
class GoogleCredentials:
    """A service account with domain-wide delegation. ``token_uri`` overrides the one inside the key.

    With ``read_only`` only tokens that cannot write are asked for; the delegation must allow that scope too.
    """

    service_account: dict[str, str] = field(repr=False)
    base_url: str = "https://www.googleapis.com/calendar/v3"
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    read_only: bool = False

    @property
    def project(self) -> str:
        """Whose quotas count: of the Cloud project, or, in a key that does not name it, of the account."""
        return self.service_account.get("project_id") or self.service_account.get("client_email", "")


class SubjectToken:
    """The access token of one impersonated person; thread-safe, one request at a time for all threads."""

    def __init__(self, key: Mapping[str, str], *, subject: str, token_uri: str, scope: str = WRITING) -> None:
        self._key = {**key, "token_uri": token_uri}
        self._subject = subject
        self._scope = scope
        self._lock = threading.Lock()
        self._credentials: service_account.Credentials | None = None

    def token(self) -> str:
        """A valid access token, from cache while it lasts.

        Raises:
            CredentialRevoked: the key cannot be used, or Google refuses it or the delegation.
            RateLimited: too many tokens were asked for.
            ProviderUnavailable: the token endpoint did not answer usefully.
        """
        with self._lock:
            credentials = self._credentials or self._load()
            self._credentials = credentials
            if not credentials.valid:
                _refresh(credentials)
            return str(credentials.token)

    def forget(self, token: str) -> None:
        with self._lock:
            # Another thread may have fetched a new one since; that one is still good.
            if self._credentials is not None and self._credentials.token == token:
                self._credentials.token = None

    def _load(self) -> service_account.Credentials:
        try:
            key = _read_key(json.dumps(self._key, sort_keys=True))
        except ValueError as error:
            # The text of the error may quote the key.
            raise CredentialRevoked(
                f"google: the service account key cannot be used ({type(error).__name__})"
            ) from None
        acting: service_account.Credentials = key.with_scopes([self._scope]).with_subject(self._subject)
        return acting


@functools.lru_cache(maxsize=8)
def _read_key(key: str) -> service_account.Credentials:
    """One key serves every person, and reading an RSA key costs more than a request (30 ms of computing)."""
    load: Callable[..., service_account.Credentials] = service_account.Credentials.from_service_account_info
    return load(json.loads(key))


def _refresh(credentials: service_account.Credentials) -> None:
    refresh: Callable[..., None] = credentials.refresh
    try:
        refresh(_post)
    except google.auth.exceptions.RefreshError:
        # ``_post`` lets through only tokens and documented refusals, so this is one.
        raise CredentialRevoked("google: the token endpoint refused the service account or its delegation") from None
    except google.auth.exceptions.TransportError as error:
        raise _no_answer(error) from None


def _no_answer(error: google.auth.exceptions.TransportError) -> ProviderUnavailable:
    if any(isinstance(cause, requests.Timeout) for cause in error.args):
        return ProviderTimeout("google POST /token: no answer in time")
    return ProviderUnavailable("google POST /token: no answer")


def _post(url: str, method: str = "POST", body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - google-auth's own Response
    """The request that google-auth asks for, with our timeouts.

    Answers that are neither a token nor a refusal raise here: google-auth would sleep and repeat, and take a page of HTML
    for a revoked credential.
    """
    with new_session() as session, within(DEADLINE_SECONDS):
        send = google.auth.transport.requests.Request(session)
        response = send(url, method=method, body=body, headers=headers, timeout=(CONNECT_SECONDS, READ_SECONDS))
        _must_be_token_or_refusal(response.status, headers=response.headers, content=response.data)
        return response


def _must_be_token_or_refusal(status: int, *, headers: Mapping[str, str], content: bytes) -> None:
    where = f"google POST /token: {status}"
    if status == requests.codes.too_many_requests:
        raise RateLimited(where, retry_after=retry_after(headers))
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    wanted = "access_token" if status == requests.codes.ok else "error"
    understood = isinstance(body, dict) and isinstance(body.get(wanted), str)
    if not understood or (status != requests.codes.ok and status not in _REFUSALS):
        raise ProviderUnavailable(f"{where} without a token or a documented refusal")
