"""The vendors whose records are damaged: for each, sound records, what reads a row of its change feed, and with which zone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from providers.calcom import payloads as calcom
from providers.google import payloads as google
from providers.hubspot import payloads as hubspot
from providers.outlook import payloads as outlook
from providers.webform.mapping import FormMapping, read_mapping
from providers.webform.payloads import Submission, parse_submission
from sync.domain import CalendarId, CalendarRef, Change, Role, Unparsed
from sync.errors import Malformed

FORMS: Final = Path(__file__).parents[2] / "docs" / "forms"
FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
ZONE: Final = "America/Chicago"
HOSTED: Final = CalendarRef(CalendarId(1), "dana", "calcom", "dana@example.com", Role.SOURCE, zone=ZONE)


@dataclass(frozen=True, slots=True)
class Vendor:
    """``seeds`` are records as the vendor sends them; ``read`` is the edge that none of their damaged copies may break."""

    name: str
    seeds: tuple[dict[str, Any], ...]
    read: Callable[[object], Change | Submission | None]


def _recorded(vendor: str) -> tuple[dict[str, Any], ...]:
    """Every object that ``records.json`` of the vendor's fixtures holds."""
    return tuple(json.loads((FIXTURES / vendor / "records.json").read_text(encoding="utf-8")))


def _forms() -> tuple[Vendor, ...]:
    """The form tools that post JSON. What cannot be understood is refused, which is what setting aside is for a form."""
    return tuple(
        Vendor(
            f"form {file.stem}",
            (json.loads(file.read_text(encoding="utf-8")),),
            partial(_submitted, file.stem, mapping),
        )
        for file in sorted((FIXTURES / "webform").glob("*.json"))
        if (mapping := read_mapping(FORMS / f"{file.stem}.yaml")).content == "json"
    )


def _submitted(name: str, mapping: FormMapping, raw: object) -> Submission | Unparsed:
    try:
        return parse_submission(name, mapping, raw)
    except Malformed as error:
        return Unparsed(None, error.field, error.reason, {})


VENDORS: Final = (
    Vendor("outlook", _recorded("outlook"), lambda raw: outlook.parse_change(raw, zone=ZONE)),
    Vendor("google", _recorded("google"), lambda raw: google.parse_change(raw, zone=ZONE)),
    Vendor("hubspot", _recorded("hubspot"), hubspot.parse_change),
    Vendor("calcom", _recorded("calcom"), lambda raw: calcom.parse_change(raw, ref=HOSTED)),
    *_forms(),
)
