"""What a read of changes says of recurring events: their instances, or only that something about a series changed.

Asked for single events, Google lists instances and not the series, cancelled ones included, and of a deleted series only
its instances (events.list, ``showDeleted`` in ``calendar.v3.json`` revision 20261030). Users saw those of the next six
months (google-api-ruby-client#860), which is more than the window. Where a row speaks of the series all the same, nobody
can say which instances are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from providers.cursors import Place
from providers.google.payloads import is_cancelled, is_series
from sync.errors import CursorExpired


def series_of(rows: Iterable[object]) -> Iterator[str]:
    """The ids of the series whose instances are among ``rows``."""
    for row in _objects(rows):
        series = row.get("recurringEventId")
        if isinstance(series, str) and series:
            yield series


def must_tell_instances(rows: Iterable[object], place: Place) -> None:
    """Refuse to go on where a series changed and its instances are not told.

    Raises:
        CursorExpired: a row is a series, or takes one away that we know without one of its instances.
    """
    rows = list(rows)
    told = set(series_of(row for row in _objects(rows) if is_cancelled(row)))
    for row in _objects(rows):
        if is_cancelled(row):
            untold = isinstance(row.get("id"), str) and place.knows(row["id"]) and row["id"] not in told
        else:
            untold = is_series(row)
        if untold:
            raise CursorExpired("google: a series changed, and the feed does not tell its instances")


def _objects(rows: Iterable[object]) -> Iterator[dict[str, Any]]:
    return (row for row in rows if isinstance(row, dict))
