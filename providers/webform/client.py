"""The forms that are connected, and whether what arrives really comes from the form tool.

This provider has nothing to call: form tools only push. What others ask of a vendor, this asks of a request.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from providers.received import Received
from providers.webform.mapping import SLUG, FormMapping, Secret, Signature, Timestamp, Token, read_mapping
from sync.errors import Malformed

SHORTEST_SECRET: Final = 16

_SLUG: Final = re.compile(SLUG)
_SECONDS: Final = re.compile(r"\d{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """A connected form."""

    name: str
    mapping: FormMapping
    secret: bytes = field(default=b"", repr=False)

    def objection(self, delivery: Received, *, now: datetime) -> str | None:
        """Why the delivery is not believed, in one word for logs; None if it is. Nobody else is told which."""
        if self.mapping.signature is not None:
            return _unsigned(self.mapping.signature, self.secret, delivery, now=now)
        if self.mapping.token is not None:
            return _unknown(self.mapping.token, self.secret, delivery)
        return None


@dataclass(frozen=True, slots=True)
class Forms:
    """All mapping files. One that is ``broken`` (and why) takes down its own form only (P9)."""

    known: Mapping[str, Form] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)


def load_forms(directory: Path | None, *, secrets: Path, env: Mapping[str, str]) -> Forms:
    """Every ``NAME.yaml`` in ``directory``. ``secrets`` is where secret files are that are not given in full."""
    known: dict[str, Form] = {}
    broken: dict[str, str] = {}
    for file in sorted(directory.glob("*.yaml")) if directory is not None else ():
        try:
            known[file.stem] = load_form(file, secrets=secrets, env=env)
        except Malformed as error:
            broken[file.stem] = str(error)
    return Forms(known, broken)


def load_form(file: Path, *, secrets: Path, env: Mapping[str, str]) -> Form:
    """The form that ``file`` describes.

    Raises:
        Malformed: names the file and the field.
    """
    if not _SLUG.fullmatch(file.stem):
        raise Malformed(file.name, "a form's name has only a-z, 0-9 and -, does not begin with -, and ends after 63")
    mapping = read_mapping(file)
    for name in ("signature", "token"):
        where: Secret | None = getattr(mapping, name)
        if where is not None:
            return Form(file.stem, mapping, _secret(where, f"{file.name}: {name}", secrets=secrets, env=env))
    return Form(file.stem, mapping)


def _secret(where: Secret, place: str, *, secrets: Path, env: Mapping[str, str]) -> bytes:
    if where.secret_env is not None:
        place, secret = f"{place}.secret_env", env.get(where.secret_env, "")
    else:
        place = f"{place}.secret_file"
        try:
            secret = (secrets / (where.secret_file or "")).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            raise Malformed(place, "cannot be read") from None
    if len(secret) < SHORTEST_SECRET:
        raise Malformed(place, f"is not set, or the secret has fewer than {SHORTEST_SECRET} characters")
    return secret.encode()


def _unsigned(signature: Signature, secret: bytes, delivery: Received, *, now: datetime) -> str | None:
    given = delivery.headers.get(signature.header)
    if not given:
        return "no_signature"
    stamp = delivery.headers.get(signature.timestamp.header, "") if signature.timestamp is not None else ""
    expected = signature.prefix + _signature(signature, secret, delivery, stamp=stamp)
    if signature.encoding == "hex":
        given = signature.prefix + given.removeprefix(signature.prefix).lower()
    if not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
        return "wrong_signature"
    # Only now: what is not signed says nothing about time.
    if signature.timestamp is not None and _stale(signature.timestamp, stamp, now=now):
        return "stale_timestamp"
    return None


def _signature(signature: Signature, secret: bytes, delivery: Received, *, stamp: str) -> str:
    words = {"method": delivery.method, "url": delivery.url, "timestamp": stamp}
    before, after = (part.format(**words).encode() for part in signature.signed.split("{body}", maxsplit=1))
    digest = hmac.new(secret, before + delivery.body + after, hashlib.sha256).digest()
    return digest.hex() if signature.encoding == "hex" else base64.b64encode(digest).decode()


def _stale(timestamp: Timestamp, stamp: str, *, now: datetime) -> bool:
    if not _SECONDS.fullmatch(stamp):
        return True
    seconds = int(stamp) / (1000 if timestamp.unit == "ms" else 1)
    return abs(now.timestamp() - seconds) > timestamp.window_seconds


def _unknown(token: Token, secret: bytes, delivery: Received) -> str | None:
    given = delivery.headers.get(token.header) if token.header else delivery.query.get(token.query or "")
    if not given:
        return "no_token"
    return None if hmac.compare_digest(given.encode("utf-8", "replace"), secret) else "wrong_token"
