"""Faults of the vendors' emulators: which are armed, and which rows of a list a late one leaves out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from providers.emulated_badday import COMMON, BadDay, Kind


class Fault(BaseModel):
    """One misbehaviour. Of the next matching requests, ``times`` get it (None: all), within ``seconds`` if given.

    Every emulator knows ``latency`` (``seconds`` each), ``rate_limited`` (429, Retry-After ``seconds``), ``server_error``
    (500), ``unavailable`` (503), ``unauthorized`` (401), ``forbidden`` (403), ``missing`` (404, as for a fresh id), ``conflict`` (a 409 that
    passes); these do nothing else. Having done the work: ``commit_then_timeout`` (504), ``commit_then_error`` (500),
    ``commit_then_unavailable`` (503), ``commit_then_limited`` (429, Retry-After ``seconds``), ``commit_then_hang`` (answers
    after ``seconds``), ``error_in_ok`` (200 with an error body), ``empty_body``, ``html``, ``truncated``. ``late_in_lists``
    leaves the newest event of an app out of a list. Vendors add their own kinds.
    """

    model_config = ConfigDict(extra="forbid")

    kind: str
    calendar: str | None = None
    match: str | None = Field(default=None, description="substring of 'METHOD /path$'; with the $, the end of it")
    times: int | None = 1
    seconds: float | None = None


class Faults:
    """The faults that are armed now, and those that a bad day draws from ``kinds``."""

    def __init__(self, kinds: Sequence[Kind] = COMMON) -> None:
        self.bad_day = BadDay(kinds)
        self._armed: list[tuple[Fault, float]] = []

    def arm(self, fault: Fault) -> None:
        self._armed.append((fault, time.monotonic()))

    def clear(self) -> None:
        self._armed.clear()

    def armed(self) -> list[dict[str, Any]]:
        return [fault.model_dump() for fault, _ in self._armed]

    def take(self, *kinds: str, calendar: str | None = None, request: str = "") -> Fault | None:
        """The first armed fault of one of ``kinds`` that matches, else the one that a bad day drew; counted as used."""
        for position, (fault, _) in enumerate(self._armed):
            if fault.kind in kinds and self._matches(fault, calendar=calendar, request=request):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        del self._armed[position]
                return fault
        drawn = self.bad_day.take(kinds)
        return Fault(kind=drawn.name, seconds=drawn.seconds) if drawn else None

    @staticmethod
    def _matches(fault: Fault, *, calendar: str | None, request: str) -> bool:
        wanted_calendar = fault.calendar is None or calendar is None or fault.calendar == calendar
        return wanted_calendar and (fault.match is None or fault.match in f"{request}$")


class _Entry(Protocol):
    id: str
    created_by: str


def without_newest(body: Mapping[str, Any], entries: Iterable[_Entry]) -> dict[str, Any]:
    """A list as a vendor shows it whose lists lag behind its reads by id: without the newest event that an app made."""
    newest = [entry.id for entry in entries if entry.created_by == "app"][-1:]
    return {
        name: [row for row in rows if row.get("id") not in newest] if isinstance(rows, list) else rows
        for name, rows in body.items()
    }
