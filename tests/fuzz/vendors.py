"""The vendors whose records are damaged: for each, sound records, what reads a row of its change feed, and with which zone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from providers.google import payloads as google
from providers.outlook import payloads as outlook
from sync.domain import Change

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
ZONE: Final = "America/Chicago"


@dataclass(frozen=True, slots=True)
class Vendor:
    """``seeds`` are records as the vendor sends them; ``read`` is the edge that none of their damaged copies may break."""

    name: str
    seeds: tuple[dict[str, Any], ...]
    read: Callable[[object], Change]


def _recorded(vendor: str) -> tuple[dict[str, Any], ...]:
    """Every object that ``records.json`` of the vendor's fixtures holds."""
    return tuple(json.loads((FIXTURES / vendor / "records.json").read_text(encoding="utf-8")))


VENDORS: Final = (
    Vendor("outlook", _recorded("outlook"), lambda raw: outlook.parse_change(raw, zone=ZONE)),
    Vendor("google", _recorded("google"), lambda raw: google.parse_change(raw, zone=ZONE)),
)
