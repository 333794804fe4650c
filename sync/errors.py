"""The error tree. The branch of an error says what happens next; no task decides on retries by itself.

    WatertightError
    ├── Transient       retry later, with backoff and jitter
    │   ├── RateLimited             carries the vendor's own delay
    │   ├── ProviderUnavailable     5xx, connection refused, a nonsense answer
    │   ├── ProviderTimeout         no answer in time
    │   ├── WriteOutcomeUnknown     a write may or may not have happened: retry with the same key
    │   └── Contention              somebody else works on it
    ├── NeedsReread     read again, decide again
    │   ├── StaleVersion            the precondition of a write failed
    │   └── CursorExpired           the feed must be read in full
    ├── Permanent       refuse or quarantine
    │   ├── NotFound
    │   ├── Forbidden
    │   │   └── NoSuchRight             whatever the record: the credential lacks the right
    │   ├── Malformed               names the field
    │   ├── Unproven                a push that does not prove where it comes from
    │   └── Rejected                the vendor understood and said no
    │       └── KeySpent                it knows the key of a write, and its event is not there
    └── NeedsHuman      stop this calendar and alert
        ├── CredentialRevoked
        ├── CredentialReadOnly
        ├── MassChange
        └── MasterCheckBypassed

Anything that is not a WatertightError is a bug and becomes a dead letter.
"""

from __future__ import annotations

from typing import ClassVar

LONGEST_PATH = 200  # characters


class WatertightError(Exception):
    """Root of the tree. ``code`` is stable: metrics, API answers, alerts and the runbook use it.

    ``calendar_id`` is whose trouble it is, where that is another calendar than the one that was worked on.
    """

    code: ClassVar[str] = "watertight_error"
    calendar_id: int | None = None

    def __repr__(self) -> str:
        """As failed runs are shown: the code is what people look up."""
        return f"{self.code}: {self}"


class Transient(WatertightError):
    """May succeed unchanged later."""

    code = "transient"
    retry_after: float | None = None


class RateLimited(Transient):
    """The vendor asked to wait ``retry_after`` seconds (None: it did not say how long)."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderUnavailable(Transient):
    """The vendor answered 5xx, could not be reached, or its answer could not be understood."""

    code = "provider_unavailable"


class ProviderTimeout(ProviderUnavailable):
    """No answer in time. For a read nothing happened; for a write see ``WriteOutcomeUnknown``."""

    code = "provider_timeout"


class WriteOutcomeUnknown(Transient):
    """A write was sent and no answer came back; it may have happened. Only the same key may be tried again."""

    code = "write_outcome_unknown"


class Contention(Transient):
    """Another worker holds what this one needs."""

    code = "contention"


class NeedsReread(WatertightError):
    """What we knew is out of date."""

    code = "needs_reread"


class StaleVersion(NeedsReread):
    """The version named in a conditional write is not the newest."""

    code = "stale_version"


class CursorExpired(NeedsReread):
    """The change feed cannot be continued from this cursor."""

    code = "cursor_expired"


class Permanent(WatertightError):
    """Will fail the same way every time."""

    code = "permanent"


class NotFound(Permanent):
    code = "not_found"


class Forbidden(Permanent):
    code = "forbidden"


class NoSuchRight(Forbidden):
    """The vendor says that the credential lacks the right altogether, not for this record only."""

    code = "no_such_right"


class Malformed(Permanent):
    """A value that cannot be understood.

    ``field`` is its path in what was sent (``start.dateTime``), ``reason`` what is wrong with it. A path may hold names
    that a stranger chose, so it is kept short and printable: it goes into logs and tables.
    """

    code = "malformed"

    def __init__(self, field: str, reason: str) -> None:
        self.field = "".join(each if each.isprintable() else "?" for each in field[:LONGEST_PATH])
        super().__init__(f"{self.field}: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[Malformed], tuple[str, str]]:
        """What is told between processes is still this error, and not one of its parents."""
        return type(self), (self.field, self.reason)


class Unproven(Permanent):
    """A push whose secret, signature or age is not what it should be. The text says which, for logs; the sender is not told."""

    code = "unproven"


class Rejected(Permanent):
    """The vendor understood the request and refused it."""

    code = "rejected"


class KeySpent(Rejected):
    """The vendor names the event that a write with this key made, and does not show it: deleted, or not visible yet."""

    code = "key_spent"


class NeedsHuman(WatertightError):
    """Going on by ourselves could do harm."""

    code = "needs_human"


class CredentialRevoked(NeedsHuman):
    code = "credential_revoked"


class CredentialReadOnly(NeedsHuman):
    """A write was sent with a credential that may only read: this process has the wrong set, or the set too few rights."""

    code = "credential_read_only"


class MassChange(NeedsHuman):
    """A read implies that more of a calendar vanished than is plausible (P13)."""

    code = "mass_change"


class MasterCheckBypassed(NeedsHuman):
    """Somebody other than the commit task tried to write to a provider (P3)."""

    code = "master_check_bypassed"
