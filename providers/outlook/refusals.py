"""Graph's error bodies, read into the error tree. Messages are never parsed (Graph: errors.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import requests

from providers.transport import by_status, retry_after
from sync.errors import (
    CursorExpired,
    NoSuchRight,
    NotFound,
    ProviderUnavailable,
    Rejected,
    StaleVersion,
    WatertightError,
)

# Graph: errors.md names the first; users met the others, in several spellings of case, with several 40x statuses.
_EXPIRED: Final = frozenset({"syncstatenotfound", "syncstateinvalid", "resyncrequired"})
_PRINTABLE_CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")


class EventGone(NotFound):
    """Graph knows the mailbox and has no such event. Any other 404 says nothing about the event (P6)."""


_PLAIN: Final[dict[str, type[WatertightError]]] = {
    "erroritemnotfound": EventGone,
    "errorinvalididmalformed": EventGone,
    "errorirresolvableconflict": StaleVersion,  # usually 412, and then the status says it already
    "erroraccessdenied": NoSuchRight,
    "authorization_requestdenied": NoSuchRight,
}


class DuplicateKey(Rejected):
    """The ``transactionId`` was used before; ``existing_id`` names the event it made, if Graph says so."""

    def __init__(self, message: str, *, existing_id: str | None) -> None:
        super().__init__(message)
        self.existing_id = existing_id


def classify(status: int, headers: Mapping[str, str], body: dict[str, Any]) -> WatertightError | None:
    """Graph's own reading of an answer for ``Transport``; None where the status says it all."""
    if status // 100 == 2:  # noqa: PLR2004 - the 2xx class
        return ProviderUnavailable(f"outlook: {status} with an error inside") if "error" in body else None
    error = body.get("error")
    details: dict[str, Any] = error if isinstance(error, dict) else {}
    code = _code(details)
    where = f"outlook: {status} {code}"
    by_code = _by_code(status, code.lower(), details, where=where)
    if by_code is None and code:
        return by_status(status, where=where, retry_after=retry_after(headers))
    return by_code


def _by_code(status: int, code: str, details: dict[str, Any], *, where: str) -> WatertightError | None:
    if status // 100 != 4:  # noqa: PLR2004 - the 4xx class
        return None
    if status == requests.codes.gone or code in _EXPIRED:  # Graph: delta-query-overview.md
        return CursorExpired(where)
    if code in _PLAIN:
        return _PLAIN[code](where)
    if code == "errorduplicatetransactionid":
        existing = details.get("@event.existingEventId")
        return DuplicateKey(where, existing_id=existing if isinstance(existing, str) else None)
    return None


def _code(details: dict[str, Any]) -> str:
    """The code as far as it is one: it may be empty (Graph: json-batching.md), and it goes into messages (P12)."""
    code = details.get("code")
    return code if isinstance(code, str) and _PRINTABLE_CODE.fullmatch(code) else ""
