"""What a watch finds to be wrong at this moment. An alarm that is not found any more is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Alarm:
    """``cause`` names it once (``silent:NewAppointmentSync``), ``code`` its kind; ``detail`` holds ids and figures only (P12)."""

    cause: str
    code: str
    calendar_id: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)
