"""What each job asks the search for, and where its next read begins."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from providers.hubspot.payloads import (
    ASSIGNED,
    CANCELED,
    CREATED,
    END,
    MODIFIED,
    OUTCOME,
    OWNER,
    START,
    dump_ms,
    find_moment,
    modified_of,
    owner_of,
)
from providers.hubspot.searching import Filter, Groups, where
from sync.domain import Interval, Job
from sync.errors import CursorExpired

# The index of the search is "a few moments" late (airbyte#69203, supaglue#665): every read goes back by this much.
OVERLAP = timedelta(seconds=60)

# A meeting without an end is found by its start alone, if it began at most this long before the window.
LONGEST_WITHOUT_END = timedelta(days=1)

# A new meeting is assigned as it is created. One that is assigned later than that has changed hands.
CREATION = timedelta(seconds=60)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job's reading stands: the newest change it has seen, by HubSpot's clock."""

    since: datetime

    @classmethod
    def of(cls, cursor: str) -> Place:
        """The place that ``dump`` wrote.

        Raises:
            CursorExpired: it is not one.
        """
        try:
            read = json.loads(cursor)
        except ValueError:
            read = None
        match read:
            case {"v": int(form), "since": int(ms)} if form == _FORMAT and 0 <= ms <= _ms(_LATEST):
                return cls(_EPOCH + timedelta(milliseconds=ms))
            case _:
                raise CursorExpired("hubspot: the cursor is not one of ours")

    @classmethod
    def at(cls, newest: datetime | None, *, clock: datetime | None) -> Place:
        """The place after a first read; the beginning of time if there was nothing to see."""
        return cls(_EPOCH).after([] if newest is None else [newest], clock=clock)

    def after(self, seen: Iterable[datetime], *, clock: datetime | None) -> Place:
        """Moves to the newest change seen, but never past HubSpot's clock at the beginning of the read.

        What changed while the pages were read may be missing from them, and a record dated in the future must not carry
        the place away with it.
        """
        newest = max(seen, default=self.since)
        return Place(max(self.since, newest if clock is None else min(newest, clock)))

    def dump(self) -> str:
        return json.dumps({"v": _FORMAT, "since": _ms(self.since)})

    @property
    def from_then(self) -> datetime:
        """From when the next read asks."""
        return max(_EPOCH, self.since - OVERLAP)


def ask_changes(owner: str, job: Job | None, *, then: datetime) -> Groups:
    """The groups of filters for what concerns ``job`` since ``then``.

    NEW asks for what was created or assigned, and for what was changed and lies ahead: a meeting of the past that is moved
    into the future was never proposed, and nobody else would.
    """
    mine = where(OWNER, "EQ", owner)
    created = [mine, _since(CREATED, then)]
    assigned = [mine, _since(ASSIGNED, then)]
    changed = [mine, _since(MODIFIED, then)]
    handed_over = [where(OWNER, "NEQ", owner), _since(ASSIGNED, then)]
    match job:
        case Job.NEW:
            return [created, assigned, [*changed, _since(START, then)]]
        case Job.UPDATE:
            return [changed]
        case Job.CANCEL:
            return [[*changed, where(OUTCOME, "EQ", CANCELED)], handed_over]
        case None:
            return [changed, handed_over]


def ask_window(owner: str, window: Interval) -> Groups:
    """Whatever overlaps ``window``, however long ago it began; without an end, whatever began shortly before or in it."""
    mine = where(OWNER, "EQ", owner)
    before_its_end = where(START, "LT", dump_ms(window.end))
    return [
        [mine, before_its_end, where(END, "GT", dump_ms(window.start))],
        [mine, before_its_end, _since(START, window.start - LONGEST_WITHOUT_END)],
    ]


def is_answer_to(owner: str, job: Job | None, *, then: datetime) -> Callable[[object], bool]:
    """Whether a row is what ``ask_changes`` asked for, as far as a row tells; a doubtful one is kept for the parser."""

    def asked_for(row: object) -> bool:
        if owner_of(row) in (owner, None):
            return _is_from(modified_of(row) or then, then)
        # Those that went to others are asked for by the time of assignment, whether or not they were this owner's before.
        return job in (Job.CANCEL, None) and _is_from(find_moment(row, ASSIGNED), then)

    return asked_for


def is_of(owner: str) -> Callable[[object], bool]:
    """Whether a row is the owner's; one that does not say whose is kept, to be set aside by the parser."""
    return lambda row: owner_of(row) in (owner, None)


def has_changed_hands(row: object) -> bool:
    """Whether a meeting was given to its owner by another one, rather than created for them."""
    assigned, created = find_moment(row, ASSIGNED), find_moment(row, CREATED)
    return assigned is not None and (created is None or assigned - created > CREATION)


def _is_from(moment: datetime | None, then: datetime) -> bool:
    return moment is not None and moment >= then


def _since(name: str, then: datetime) -> Filter:
    return where(name, "GTE", dump_ms(then))


def _ms(instant: datetime) -> int:
    return int(dump_ms(instant))
