"""A push as it came over HTTP, and what is needed to see whether it is genuine. What it says, each vendor's ``hooks`` tell."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from providers.bodies import parse_json
from sync.errors import Malformed
from sync.pushes import Secrets

DEEPEST: Final = 20  # vendors' own are below 8


@dataclass(frozen=True, slots=True)
class Received:
    """One request. ``url`` is the address that the vendor was given, query included; ``headers`` ignore case."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    url: str
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Proof:
    """What only we and the vendors know: the calendars' secrets, and that of the app where a vendor signs by app."""

    secrets: Secrets
    app_secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class At:
    """Where in a body we are, so that a complaint names the field."""

    path: str
    value: Any

    def object(self) -> dict[str, Any]:
        """Raises: Malformed, it is no object."""
        if not isinstance(self.value, dict):
            raise Malformed(self.path, "is not an object")
        return self.value

    def items(self, *, most: int) -> list[At]:
        """Raises: Malformed, it is no list, or a list of more than ``most``."""
        if not isinstance(self.value, list):
            raise Malformed(self.path, "is not a list")
        if len(self.value) > most:
            raise Malformed(self.path, f"has more than {most} entries")
        return [At(f"{self.path}.{number}", value) for number, value in enumerate(self.value)]

    def __getitem__(self, name: str) -> At:
        return At(f"{self.path}.{name}".removeprefix("body."), self.object().get(name))

    def text(self) -> str:
        """Raises: Malformed, it is no text, or empty."""
        if not isinstance(self.value, str) or not self.value:
            raise Malformed(self.path, "is not text" if self.value is not None else "is missing")
        return self.value


def read_json(body: bytes) -> At:
    """The body as JSON.

    Raises:
        Malformed: it is none, or too deeply nested.
    """
    found = parse_json(body, depth=DEEPEST)
    if found is None:
        raise Malformed("body", f"is not JSON of at most {DEEPEST} levels")
    return At("body", found)


def is_same(given: str, expected: str) -> bool:
    """Whether they are equal; takes the same time wherever they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def is_fresh(stamp: datetime, *, now: datetime, seconds: float) -> bool:
    return abs((now - stamp).total_seconds()) <= seconds
