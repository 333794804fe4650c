"""What vendors do to us, each at the next call of one method. A vendor that says no after having done the work is not modelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sync.errors import (
    CredentialRevoked,
    Forbidden,
    Malformed,
    NotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    StaleVersion,
    WatertightError,
    WriteOutcomeUnknown,
)
from tests.property.world import Died

READS = ("read_window", "find_event", "find_by_key", "read_changes")
WRITES = ("create", "update", "delete")


@dataclass(frozen=True, slots=True)
class Fault:
    """``when`` the error strikes: ``before`` the work is done, or ``after``."""

    method: str
    error: Callable[[], BaseException]
    when: str = "before"

    def __repr__(self) -> str:
        return f"Fault({self.method}, {type(self.error()).__name__}, {self.when})"


def _malformed() -> WatertightError:
    return Malformed("start.dateTime", "is missing")


def _limited() -> WatertightError:
    return RateLimited("slow down", retry_after=20.0)


def _unavailable() -> WatertightError:
    return ProviderUnavailable("half of the pages")


def _timeout() -> WatertightError:
    return ProviderTimeout("no answer")


def _revoked() -> WatertightError:
    return CredentialRevoked("the password was changed")


def _forbidden() -> WatertightError:
    return Forbidden("not any more")


def _unknown() -> WatertightError:
    return WriteOutcomeUnknown("no answer")


def _stale() -> WatertightError:
    return StaleVersion("changed meanwhile")


def _rejected() -> WatertightError:
    return Rejected("no")


def _not_found() -> WatertightError:
    return NotFound("no such event")


_READ_ERRORS = (_unavailable, _timeout, _limited, _malformed, _revoked, _forbidden)
FAULTS = (
    *(Fault(method, error) for method in READS for error in _READ_ERRORS),
    *(Fault(method, _unknown, when) for method in WRITES for when in ("before", "after", "after")),
    *(Fault(method, Died, when) for method in WRITES for when in ("before", "after")),
    *(Fault(method, error) for method in WRITES for error in (_unavailable, _limited, _revoked, _rejected)),
    *(Fault(method, _stale) for method in ("update", "delete")),
    Fault("update", _not_found),
)
