"""The emulator's token endpoint: JWT grants of service accounts, and the tokens issued for them.

Source: developers.google.com/identity/protocols/oauth2/service-account; RFC 7523.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from providers.emulated_faults import Faults

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"  # fixed, wherever the request is sent
LIFETIME_SECONDS = 3599

_LONGEST_SECONDS = 3600 + 300
_SCOPE = "https://www.googleapis.com/auth/calendar"
_READING = f"{_SCOPE}.readonly"


def make_service_account(email: str) -> dict[str, str]:
    """A key file such as Google hands out, with a key pair of its own."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "watertight-emulated",
        "private_key_id": secrets.token_hex(20),
        "private_key": pem.decode(),
        "client_email": email,
        "client_id": str(secrets.randbelow(10**21)),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
    }


class GrantRefusal(Exception):
    """An OAuth 2 error answer with status 400."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description

    def body(self) -> dict[str, str]:
        return {"error": self.error, "error_description": self.description}


@dataclass(frozen=True, slots=True)
class Grant:
    """For whom (``subject``, lower case) a token was issued, until when (seconds since the epoch), and for what."""

    subject: str
    until: float
    read_only: bool = False


class Tokens:
    """The tokens that are good now. A restart forgets them, and clients fetch new ones after a 401."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._grants: dict[str, Grant] = {}

    def issue(self, subject: str, *, read_only: bool = False) -> dict[str, Any]:
        """The answer to a good ``POST /token``."""
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self._grants[token] = Grant(subject, self._now() + LIFETIME_SECONDS, read_only)
        return {"access_token": token, "expires_in": LIFETIME_SECONDS, "token_type": "Bearer"}

    def subject_of(self, authorization: str) -> str | None:
        """Whose token an Authorization header carries; None if it is not good."""
        scheme, _, token = authorization.partition(" ")
        grant = self._grants.get(token)
        good = scheme.lower() == "bearer" and grant is not None and grant.until > self._now()
        return grant.subject if grant is not None and good else None

    def has_right(self, authorization: str, method: str, path: str) -> bool:
        """Whether the token's scope allows this; watching and asking for busy times need no more than reading."""
        grant = self._grants.get(authorization.partition(" ")[2])
        writes = method != "GET" and "/events" in path and not path.endswith("/watch")
        return not (writes and grant is not None and grant.read_only)


def is_revoked(faults: Faults, subject: str) -> bool:
    """A refused grant ends the tokens that were issued for it."""
    return any(fault["kind"] == "invalid_grant" and fault["calendar"] in (None, subject) for fault in faults.armed())


def subject_of_grant(form: str, *, now: Callable[[], float] = time.time) -> tuple[str, bool]:
    """Whom the assertion in ``form`` wants to act for, in lower case, and whether it wants only to read.

    Raises:
        GrantRefusal: it is not what Google accepts. The signature is not checked: every key is known here.
    """
    fields = {name: values[0] for name, values in parse_qs(form).items()}
    if fields.get("grant_type") != GRANT_TYPE:
        raise GrantRefusal("unsupported_grant_type", "Invalid grant_type")
    header, claims = _parts(fields.get("assertion", ""))
    if header.get("alg") != "RS256":
        raise GrantRefusal("invalid_grant", "Invalid JWT: only RS256 is supported")
    if claims.get("aud") != AUDIENCE:
        raise GrantRefusal("invalid_grant", "Invalid JWT: Failed audience check")
    if not claims.get("iss") or not claims.get("sub"):
        raise GrantRefusal("invalid_grant", "Invalid JWT: iss and sub are required")
    if not 0 < claims.get("exp", 0) - now() <= _LONGEST_SECONDS:
        raise GrantRefusal("invalid_grant", "Invalid JWT: check your iat and exp values in the JWT claim")
    scopes = str(claims.get("scope", "")).split()
    if not {_SCOPE, _READING}.intersection(scopes):
        raise GrantRefusal("invalid_scope", "Invalid OAuth scope or ID token audience provided")
    return str(claims["sub"]).lower(), _SCOPE not in scopes


def _parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        header, claims, signature = (_decoded(part) for part in assertion.split("."))
        both = json.loads(header), json.loads(claims)
    except ValueError:
        raise GrantRefusal("invalid_grant", "Bad Request") from None
    if not signature or not all(isinstance(part, dict) for part in both):
        raise GrantRefusal("invalid_grant", "Bad Request")
    return both


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
