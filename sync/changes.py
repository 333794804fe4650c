"""What a read means: which sightings win, what vanished, and which proposals follow. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

from sync.domain import (
    REFUSED_PREFIX,
    Attendee,
    CalendarId,
    Change,
    Interval,
    Job,
    Kind,
    RemoteEvent,
    RemoteId,
    Removal,
)


@dataclass(frozen=True, slots=True)
class Brake:
    """When so much vanished that a broken read is likelier than a person (P13): ``at_least`` events, and this share."""

    share: float = 0.2
    at_least: int = 5

    def stops(self, *, gone: int, of: int) -> bool:
        return gone >= max(self.at_least, math.ceil(self.share * of))


@dataclass(frozen=True, slots=True)
class Seen:
    """The stored state of a remote event; ``interval`` is None for a tombstone that was never seen alive.

    ``revived``: it came back newer than its tombstone. ``key`` is that of the write of ours which made it, or was copied
    with it.
    """

    remote_id: RemoteId
    version: str
    updated: datetime | None
    interval: Interval | None
    blocks: bool
    deleted: bool
    title: str = ""
    attendees: tuple[Attendee, ...] = ()
    replaces: RemoteId | None = None
    series_id: str | None = None
    revived: bool = False
    key: str | None = None

    @property
    def wants_time(self) -> bool:
        """Whether its owner wants the time: it is busy, or free only because we marked it as refused."""
        return not self.deleted and (self.blocks or self.title.startswith(REFUSED_PREFIX))


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was last agreed about an event: by a link to a live appointment, or only by the last proposal made from it.

    ``interval`` is None when nothing was: the last proposal was a cancellation, or was overtaken before it was judged.
    ``inherited`` says that it was agreed about an event that this one has taken over from, so the link must follow.
    """

    linked: bool
    open: bool
    interval: Interval | None
    updated: datetime | None = None
    title: str = ""
    attendees: tuple[Attendee, ...] = ()
    version: str | None = None
    inherited: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of the events in a batch.

    ``agreed`` by remote id; ``ours`` are ids of events that writes of ours made; ``strays`` are those whose write came to
    nothing, so that the event must go; ``ended`` are those that once carried an appointment, with the vendor's time of
    their last state. ``answers`` tells whether the calendar's owner is told of a refusal in the event itself.
    ``replaced`` are those that a live event has taken over from; it inherits what was agreed about them.
    """

    agreed: Mapping[RemoteId, Agreed]
    ours: AbstractSet[RemoteId]
    strays: AbstractSet[RemoteId]
    ended: Mapping[RemoteId, datetime] = field(default_factory=dict)
    answers: bool = True
    replaced: AbstractSet[RemoteId] = frozenset()


@dataclass(frozen=True, slots=True)
class Wish:
    """A proposal before it is stored."""

    kind: Kind
    calendar_id: CalendarId
    seen: Seen

    @property
    def key(self) -> str:
        """The same change gives the same key, however often and by whichever road it arrives (P5)."""
        return f"{self.calendar_id}:{self.kind}:{self.seen.version}:{self.seen.remote_id}"


def is_newer(incoming: RemoteEvent | Removal, stored: Seen | None) -> bool:
    """Whether ``incoming`` replaces what is stored: by the vendor's own order, never by arrival.

    A removal without a date wins, since an event that is gone has no newer state; that a tombstone comes to life again is
    believed only after a direct read, which is the caller's affair.
    """
    if stored is None or stored.updated is None or incoming.updated is None:
        return True
    if isinstance(incoming, Removal) or stored.deleted:
        return incoming.updated >= stored.updated
    return incoming.updated > stored.updated or (
        incoming.version != stored.version and incoming.updated == stored.updated
    )


def last_of_each(changes: Iterable[Change]) -> dict[RemoteId, RemoteEvent | Removal]:
    """A feed may name an event several times; its last word counts."""
    return {change.remote_id: change for change in changes if isinstance(change, RemoteEvent | Removal)}


def live_in(stored: Iterable[Seen], *, window: Interval) -> list[Seen]:
    """The stored events that a full read of ``window`` should show."""
    return [seen for seen in stored if not seen.deleted and seen.interval and seen.interval.overlaps(window)]


def plan_proposals(
    job: Job, batch: Iterable[Seen], known: Known, *, calendar_id: CalendarId, now: datetime
) -> list[Wish]:
    """The proposals of a job's own kind that follow from the stored state of the events in its batch."""
    plan = {Job.NEW: _plan_new, Job.CANCEL: _plan_cancelled, Job.UPDATE: _plan_changed}[job]
    kinds = ((plan(seen, known, now=now), seen) for seen in batch)
    return [Wish(kind, calendar_id, seen) for kind, seen in kinds if kind is not None]


def _plan_new(seen: Seen, known: Known, *, now: datetime) -> Kind | None:
    """A live, busy, foreign event for which no proposal was ever made; and events of ours that should not exist.

    One that has taken over from another is a change, but it is new in the vendor's lists, and may be missing in those of
    what changed.
    """
    if seen.deleted or seen.interval is None:
        return None
    if seen.remote_id in known.strays:
        return Kind.CANCEL
    agreed = known.agreed.get(seen.remote_id)
    if agreed is not None and agreed.inherited:
        return _plan_changed(seen, known, now=now)
    if agreed is not None or (seen.remote_id in known.ours and not _is_back(seen, known)):
        return None
    return Kind.BOOK if seen.blocks and seen.interval.end > now else None


def _is_back(seen: Seen, known: Known) -> bool:
    """A person has taken an event of ours out of the bin, after its appointment had ended: from now on it is theirs.

    One whose state is no newer than what we knew is only still shown, as vendors do for a while after a deletion.
    """
    before = known.ended.get(seen.remote_id)
    return before is not None and seen.updated is not None and seen.updated > before


def _plan_cancelled(seen: Seen, known: Known, *, now: datetime) -> Kind | None:  # noqa: ARG001 - one shape for all three
    """A known event that is deleted, or no longer takes time."""
    agreed = known.agreed.get(seen.remote_id)
    if agreed is None or not (agreed.linked or agreed.open) or seen.remote_id in known.replaced:
        return None
    if seen.deleted:
        return Kind.CANCEL
    newer = agreed.updated is None or (seen.updated is not None and seen.updated > agreed.updated)
    return Kind.CANCEL if not seen.wants_time and newer else None


def _plan_changed(seen: Seen, known: Known, *, now: datetime) -> Kind | None:
    """A known, live event that differs from what was last agreed.

    One that was refused is answered by showing it as free or taking it off: if it is busy although it has changed since,
    its owner insists. Where nothing is answered, it is proposed again only for a new time.
    """
    agreed = known.agreed.get(seen.remote_id)
    if agreed is None or not seen.wants_time or seen.interval is None or seen.remote_id in known.strays:
        return None
    if seen.interval.end <= now and not agreed.linked:
        return None
    return Kind.MOVE if agreed.inherited or _differs(seen, agreed, known) else None


def _differs(seen: Seen, agreed: Agreed, known: Known) -> bool:
    if agreed.updated is not None and seen.updated is not None and seen.updated <= agreed.updated:
        return False
    same_words = seen.title == agreed.title and seen.attendees == agreed.attendees
    settled_for_good = not (agreed.linked or agreed.open)
    if settled_for_good and seen.blocks and known.answers and seen.version != agreed.version:
        return True
    return seen.interval != agreed.interval or not (same_words or settled_for_good)
