"""The client-credential flow of Microsoft Entra through msal, for one app registration."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Final

import msal
import requests
from msal.exceptions import MsalError

from providers.deadlines import DEADLINE_SECONDS, new_session, within
from providers.transport import CONNECT_SECONDS, READ_SECONDS, by_status, map_exception, retry_after
from sync.errors import CredentialRevoked, ProviderUnavailable, WatertightError

GRAPH_URL: Final = "https://graph.microsoft.com/v1.0"
LOGIN_URL: Final = "https://login.microsoftonline.com"
SCOPES: Final = ["https://graph.microsoft.com/.default"]  # application permissions know no other scope

# RFC 6749 §5.2: what an administrator must put right. Everything else the token endpoint says may pass by itself.
_REFUSALS = frozenset({"invalid_client", "unauthorized_client", "invalid_grant", "invalid_request", "access_denied"})


@dataclass(frozen=True, slots=True)
class OutlookCredentials:
    """An app registration with the application permission Calendars.ReadWrite, and where its two hosts are."""

    tenant_id: str
    client_id: str
    client_secret: str = field(repr=False)
    base_url: str = GRAPH_URL
    login_url: str = LOGIN_URL


class ClientCredentialFlow:
    """A ``transport.TokenAuth``. One request for a token at a time; msal's own cache serves the others."""

    def __init__(self, credentials: OutlookCredentials) -> None:
        self._credentials = credentials
        self._http = _LoginClient(credentials.login_url)
        self._lock = threading.Lock()
        self._app: msal.ConfidentialClientApplication | None = None
        self._newest = ""

    def token(self) -> str:
        """A valid access token, from msal's cache while it lasts.

        Raises:
            CredentialRevoked: the vendor refuses tenant, client or secret.
            Transient: the token endpoint did not answer usefully.
        """
        with self._lock:
            try:
                self._newest = self._acquire()
            except WatertightError:
                self._app = None  # msal would serve the error from its cache for up to a minute
                raise
            return self._newest

    def forget(self, token: str) -> None:
        """The API refused ``token``. A newer one that another thread has fetched meanwhile is kept."""
        with self._lock:
            if token == self._newest:
                self._app = None  # the cached token lives and dies with the application object

    def _acquire(self) -> str:
        try:
            self._app = self._app or self._new_app()
            result = self._app.acquire_token_for_client(scopes=SCOPES)
        except requests.RequestException as error:
            raise map_exception(error, vendor="outlook", route="token", reading=True) from None
        except (ValueError, KeyError, TypeError, MsalError) as error:
            raise ProviderUnavailable(f"outlook token: {type(error).__name__} in the answer") from None
        return _token_of(result)

    def _new_app(self) -> msal.ConfidentialClientApplication:
        """Raises what ``_LoginClient`` raises: msal reads the tenant's configuration in the constructor."""
        return msal.ConfidentialClientApplication(
            self._credentials.client_id,
            client_credential=self._credentials.client_secret,
            authority=f"{LOGIN_URL}/{self._credentials.tenant_id}",
            instance_discovery=False,
            http_client=self._http,
        )


def _token_of(result: object) -> str:
    answer = result if isinstance(result, dict) else {}
    token = answer.get("access_token")
    if isinstance(token, str) and token:
        return token
    code = answer.get("error")
    if isinstance(code, str) and code in _REFUSALS:
        raise CredentialRevoked(f"outlook token: {code}")
    raise ProviderUnavailable("outlook token: an answer without a token")


class _LoginClient:
    """msal's ``http_client``: our timeouts, our error tree, and the host of ``login_url``.

    msal refuses an authority that is not https, so the authority stays Microsoft's and only the request goes elsewhere.
    """

    def __init__(self, login_url: str) -> None:
        self._login_url = login_url.rstrip("/")
        self._session = new_session()  # used under the flow's lock, hence by one thread at a time

    def get(self, url: str, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - msal's interface
        """The tenant's configuration. Entra answers 400 for a tenant that does not exist."""
        response = self._request("GET", url, **kwargs)
        if response.status_code == requests.codes.bad_request:
            raise CredentialRevoked("outlook token: 400 for the tenant")
        return response

    def post(self, url: str, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - msal's interface
        return self._request("POST", url, **kwargs)

    def close(self) -> None:
        self._session.close()

    def _request(self, method: str, url: str, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - msal's interface
        if not url.startswith(f"{LOGIN_URL}/"):
            raise ProviderUnavailable("outlook token: the tenant's configuration names a foreign host")
        with within(DEADLINE_SECONDS):
            response = self._session.request(
                method,
                self._login_url + url.removeprefix(LOGIN_URL),
                **{**kwargs, "timeout": (CONNECT_SECONDS, READ_SECONDS), "allow_redirects": False},
            )
        if response.status_code // 100 == 4 and response.status_code != requests.codes.too_many_requests:  # noqa: PLR2004
            return response  # an OAuth error body: msal reads it
        error = by_status(
            response.status_code,
            where=f"outlook token: {response.status_code}",
            retry_after=retry_after(response.headers),
        )
        if error is not None:
            raise error
        return response
