"""What people are told about one code: how bad, what happened, to whom, what happens by itself, and what they can do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["warning", "critical"]
PLACEHOLDER = re.compile(r"\{(\w+)\}")

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One code. ``severity`` is by what a person loses.

    Critical: somebody may be booked twice, bookings are refused or lost, or nobody notices changes. Warning: something is
    late, or one record is concerned. A warning that lasts for ``escalates_after`` seconds becomes critical (None: never).
    ``commands`` are to be pasted; ``{calendar}`` and the like are filled from the alert's detail. Alerts of another code
    whose ``folds_into`` is this one are told together with this one: both are signs of the same outage. With ``one_by_one``
    each needs somebody of its own, so people are told of further ones too, every few minutes; an outage is told once.
    """

    code: str
    severity: Severity
    title: str
    happened: str
    affected: str
    by_itself: str
    do: str
    commands: tuple[str, ...] = ()
    escalates_after: float | None = None
    folds_into: str | None = None
    one_by_one: bool = False

    @property
    def family(self) -> str:
        return self.folds_into or self.code

    def fill(self, detail: Mapping[str, Any]) -> tuple[str, ...]:
        """The commands for one alert; what its detail does not say is left to be filled in, in capitals."""

        def value(match: re.Match[str]) -> str:
            found = detail.get(match[1])
            return match[1].upper() if found is None else str(found)

        return tuple(PLACEHOLDER.sub(value, command) for command in self.commands)
