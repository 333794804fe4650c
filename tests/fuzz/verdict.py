"""What must hold of a change, whatever record it was read from."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from providers.webform.payloads import Submission
from sync.domain import Interval, RemoteEvent, Removal, Unparsed, is_name, is_storable
from sync.errors import LONGEST_PATH
from sync.quarantine import _storable
from tests.fuzz.mutation import mutated
from tests.fuzz.vendors import Vendor


@dataclass
class Tally:
    """How often the records of one vendor came out as what."""

    vendor: str
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def __str__(self) -> str:
        shown = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.counts.items()))
        return f"{self.vendor}: {self.counts.total():,} damaged records: {shown} ({self.seconds:.1f} s)"


def fuzz(vendor: Vendor, *, count: int, seed: int) -> Tally:
    """Read ``count`` damaged records.

    Raises:
        AssertionError: one came out as what it must not; the message holds what is needed to see it again.
    """
    tally, started = Tally(vendor.name), time.monotonic()
    for number in range(count):
        rng = random.Random(f"{vendor.name}/{seed}/{number}")  # noqa: S311 - to repeat, not to keep secret
        raw = mutated(rng.choice(vendor.seeds), rng)
        try:
            tally.counts[judge(vendor.read(raw))] += 1
        except Exception as error:
            message = f"{vendor.name} seed {seed} number {number}: {type(error).__name__}: {error}"
            raise AssertionError(message) from error
    tally.seconds = time.monotonic() - started
    return tally


def judge(change: object) -> str:
    """The kind of ``change``, which is sound."""
    match change:
        case RemoteEvent():
            _judge_event(change)
            return "parsed"
        case Removal():
            assert is_name(change.remote_id)
            assert change.replaces is None or is_name(change.replaces)
            assert change.updated is None or _is_utc(change.updated)
            return "removed"
        case Submission():
            _judge_submission(change)
            return "parsed"
        case Unparsed():
            _judge_quarantined(change)
            return "quarantined"
        case None:
            return "left to others"
        case _:
            raise AssertionError(type(change))


def _judge_event(event: RemoteEvent) -> None:
    assert type(event.interval) is Interval
    assert _is_utc(event.interval.start)
    assert _is_utc(event.interval.end)
    assert event.interval.start < event.interval.end
    assert _is_utc(event.updated)
    assert type(event.blocks) is bool
    assert is_name(event.remote_id)
    assert is_name(event.version)
    assert event.key is None or is_name(event.key)
    assert event.replaces is None or is_name(event.replaces)
    assert event.series_id is None or is_storable(event.series_id)
    texts = [event.title, *(text for guest in event.attendees for text in (guest.name, guest.email))]
    assert all(type(text) is str and is_storable(text) for text in texts)


def _judge_submission(form: Submission) -> None:
    assert _is_utc(form.interval.start)
    assert form.interval.start < form.interval.end
    assert is_name(form.key)
    assert is_storable(form.agent + form.title)
    assert all(is_storable(guest.name + guest.email) for guest in form.attendees)


def _judge_quarantined(record: Unparsed) -> None:
    assert record.remote_id is None or is_name(record.remote_id)
    assert record.field
    assert record.reason
    assert is_storable(record.field + record.reason)
    assert len(record.field) <= LONGEST_PATH
    assert type(record.raw) in {dict, str}
    json.dumps(_storable(record.raw), allow_nan=False).encode("utf-8")


def _is_utc(at: datetime) -> bool:
    return at.tzinfo is UTC
