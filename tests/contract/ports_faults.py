"""Troubles of the workbench as faults that every emulator knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from providers.emulated_faults import Fault, Faults
from tests.contract.ports_bench import NEEDS, RETRY_AFTER_SECONDS, Trouble

IMPATIENT = (1.0, 0.15)  # connect and read, in seconds
HANG_SECONDS = 0.3

_KINDS = {
    Trouble.LIMITED: "rate_limited",
    Trouble.ERROR: "server_error",
    Trouble.UNAVAILABLE: "unavailable",
    Trouble.HTML: "html",
    Trouble.EMPTY: "empty_body",
    Trouble.TRUNCATED: "truncated",
    Trouble.ERROR_IN_OK: "error_in_ok",
    Trouble.SILENCE: "commit_then_hang",
    Trouble.UNHEARD: "commit_then_timeout",
    Trouble.OTHER_EVENT: "other_event",
    Trouble.FORBIDDEN: "forbidden",
}
_METHODS = {"create": "POST", "update": "PATCH", "delete": "DELETE"}


class Emulator(Protocol):
    faults: Faults


def arm(
    emulator: Emulator,
    calendar: str | None,
    trouble: Trouble,
    call: str,
    *,
    seconds: float = RETRY_AFTER_SECONDS,
    writes: Mapping[str, str] = _METHODS,
) -> None:
    """Until it is cleared: on every request of a read, and on the writing ones of a write (``writes``, by call)."""
    match = writes[call] if call in NEEDS else None
    emulator.faults.arm(Fault(kind=_KINDS[trouble], calendar=calendar, match=match, times=None, seconds=seconds))
