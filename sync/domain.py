"""The words of design §3 as frozen values. Every instant is an aware datetime in UTC (P8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NewType

from sync.errors import Malformed

AgentId = NewType("AgentId", int)
CalendarId = NewType("CalendarId", int)
ProposalId = NewType("ProposalId", int)
AppointmentId = NewType("AppointmentId", int)
SlotId = NewType("SlotId", int)
WriteId = NewType("WriteId", int)
RemoteId = NewType("RemoteId", str)
WriteKey = NewType("WriteKey", str)


# A row of a PostgreSQL index holds 2,704 bytes, and the key of a proposal is made of an id and a version. The longest id
# that a vendor documents has 1,024 characters and may be followed by the day of an occurrence.
LONGEST_NAME_BYTES = 1100

REFUSED_PREFIX = "[not booked] "  # what the title of a refused event of a person begins with
CANCELLED_PREFIX = "[cancelled] "  # and of one whose appointment was cancelled


class Role(StrEnum):
    """What a calendar is to its agent. An agent has exactly one master."""

    MASTER = "master"
    MIRROR = "mirror"
    SOURCE = "source"


class Job(StrEnum):
    """The three sync jobs: independent cursors, queues and schedules."""

    NEW = "new"
    CANCEL = "cancel"
    UPDATE = "update"


class Kind(StrEnum):
    """What a proposal wishes."""

    BOOK = "book"
    MOVE = "move"
    CANCEL = "cancel"
    HOLD = "hold"
    REPAIR = "repair"  # of drift that the audit found: it changes no appointment, only how calendars show it


class Reason(StrEnum):
    """Why a decision came out as it did. Stable: shown to people, counted in metrics."""

    ACCEPTED = "accepted"
    ALREADY_DONE = "already_done"
    SLOT_TAKEN = "slot_taken"
    MASTER_BUSY = "master_busy"
    MASTER_UNREADABLE = "master_unreadable"
    MASTER_CHANGED = "master_changed"
    STALE = "stale"
    GONE = "gone"
    MALFORMED = "malformed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """Half-open ``[start, end)`` in UTC, so intervals that touch do not overlap.

    Raises:
        Malformed: a naive instant, or an end that is not after the start. Nothing is ever swapped silently.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name, instant in (("start", self.start), ("end", self.end)):
            if instant.tzinfo is UTC:  # as most are: intervals are made by the thousand
                continue
            if instant.utcoffset() is None:
                raise Malformed(name, "has neither zone nor offset")
            object.__setattr__(self, name, instant.astimezone(UTC))
        if self.end <= self.start:
            raise Malformed("end", f"is not after start ({self.start.isoformat()} … {self.end.isoformat()})")

    def overlaps(self, other: Interval) -> bool:
        return self.start < other.end and other.start < self.end

    def widened(self, *, before: timedelta, after: timedelta) -> Interval:
        return Interval(self.start - before, self.end + after)

    def hull(self, other: Interval) -> Interval:
        """The smallest interval that contains both."""
        return Interval(min(self.start, other.start), max(self.end, other.end))

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%MZ}/{self.end:%Y-%m-%dT%H:%MZ}"


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can keep the text: one such character in one title must not fail a whole batch (P7)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False  # half of a surrogate pair
    return "\x00" not in text


def is_name(text: str) -> bool:
    """Whether the text can be an id, a version or a key, which stand in indexes."""
    return bool(text) and is_storable(text) and len(text.encode()) <= LONGEST_NAME_BYTES


def _require_name(text: str, *, field: str) -> None:
    _require_storable(text, field=field)
    if text and not is_name(text):
        raise Malformed(field, f"is longer than {LONGEST_NAME_BYTES} bytes")


def _require_storable(text: str, *, field: str) -> None:
    if not is_storable(text):
        raise Malformed(field, "contains characters that no database stores (NUL or half of a pair)")


@dataclass(frozen=True, slots=True)
class Attendee:
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class BusyPolicy:
    """What takes an agent's time where reasonable people differ; everything else is fixed by each vendor's table.

    ``tentative``: marked so by the agent. ``unanswered``: an invitation that waits for an answer. ``working_elsewhere``:
    at work, but not at the desk. ``focus_time``: kept free of meetings by the agent.
    """

    tentative: bool = True
    unanswered: bool = True
    working_elsewhere: bool = False
    focus_time: bool = True


@dataclass(frozen=True, slots=True)
class CalendarRef:
    """One remote feed of an agent, as much as an adapter needs to know of it.

    ``remote`` is the vendor's reference (a mailbox, a calendar id, an owner id). ``zone`` is the agent's IANA
    zone, used only to turn all-day dates and floating times into instants; ``busy`` is the agent's own policy.
    """

    id: CalendarId
    agent: str
    provider: str
    remote: str
    role: Role
    zone: str
    busy: BusyPolicy = BusyPolicy()


@dataclass(frozen=True, slots=True)
class RemoteEvent:
    """A live event as the vendor shows it.

    ``version`` is opaque (an etag) and is only ever compared for equality or sent back. ``updated`` is the vendor's own
    clock and orders two states of one event; it is never compared with ours. ``blocks`` says whether the event takes
    the person's time (not free, not declined, not cancelled). ``key`` is the idempotency key of the write of ours that
    created it, when the vendor shows it. ``replaces`` is the event that this one took over from, at vendors where a new
    time is a new event.
    """

    remote_id: RemoteId
    version: str
    updated: datetime
    interval: Interval
    blocks: bool
    title: str = ""
    attendees: tuple[Attendee, ...] = ()
    key: WriteKey | None = None
    series_id: str | None = None
    replaces: RemoteId | None = None

    def __post_init__(self) -> None:
        for field_name in ("remote_id", "version", "key", "series_id", "replaces"):
            _require_name(getattr(self, field_name) or "", field=field_name)
        _require_storable(self.title, field="title")
        for attendee in self.attendees:
            _require_storable(attendee.name + attendee.email, field="attendees")


@dataclass(frozen=True, slots=True)
class Removal:
    """The vendor says that this event is deleted or cancelled. ``updated`` is None where the vendor does not say when.

    ``replaces`` as with ``RemoteEvent``: a chain of events that took over from one another must not break at one that ended.

    Raises:
        Malformed: an id is none that can be stored.
    """

    remote_id: RemoteId
    updated: datetime | None = None
    replaces: RemoteId | None = None

    def __post_init__(self) -> None:
        _require_name(self.remote_id, field="remote_id")
        _require_name(self.replaces or "", field="replaces")


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A record that could not be understood: kept raw, with the field and the reason, while the batch goes on (P7).

    An id that cannot be stored is none; it is still to be seen in ``raw``.
    """

    remote_id: str | None
    field: str
    reason: str
    raw: dict[str, Any] | str

    def __post_init__(self) -> None:
        if self.remote_id is not None and not is_name(self.remote_id):
            object.__setattr__(self, "remote_id", None)


Change = RemoteEvent | Removal | Unparsed


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A complete read: either everything in the window (``full``), or all changes since the cursor that was passed."""

    changes: tuple[Change, ...]
    cursor: str
    full: bool


@dataclass(frozen=True, slots=True)
class EventDraft:
    """What we ask a vendor to show. Copies carry no attendees, so nobody is mailed by accident (design §5.3).

    A ``body`` of None leaves the description as it is: it may be a person's. ``note`` is put before what an existing
    description says, unless it stands there already.
    """

    interval: Interval
    title: str
    body: str | None = None
    blocks: bool = True
    attendees: tuple[Attendee, ...] = ()
    note: str | None = None

    def noted(self, description: str) -> str | None:
        """The description to write over ``description``; None if it stays."""
        if self.note is None or description.startswith(self.note):
            return self.body
        return f"{self.note}\n\n{self.body if self.body is not None else description}".rstrip()

    def is_shown_by(self, event: RemoteEvent) -> bool:
        return (event.interval, event.title, event.blocks) == (self.interval, self.title, self.blocks)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A push channel at the vendor. ``resource_id`` is needed by vendors that end channels by it (else empty)."""

    id: str
    expires: datetime
    resource_id: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was in the way, and when it was read: ids and intervals only, never titles or people (P12)."""

    read_at: datetime
    source: str
    detail: dict[str, Any] = field(default_factory=dict)
