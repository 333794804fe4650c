"""What a round of the change feed says of series: for all of them, or only that something about one has changed.

When a series changes, Graph repeats it with all of its occurrences and does not mention those that are gone (docs#4501,
#5520, #6353); only what the window still holds can be believed. When a whole series is deleted, its occurrences may be
told as deleted one by one, or only the series is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from providers.cursors import Place
from providers.outlook import payloads
from sync.errors import CursorExpired

_PARTS: Final = frozenset({"seriesMaster", "occurrence", "exception"})


def series_of(rows: Iterable[object]) -> Iterator[str]:
    """The ids of the series that ``rows`` are, or are of."""
    for row in _parts(rows):
        series = row.get("id") if row.get("type") == "seriesMaster" else row.get("seriesMasterId")
        if isinstance(series, str) and series:
            yield series


def must_tell_occurrences(rows: Iterable[object], place: Place) -> None:
    """Refuse to go on from ``place`` where nobody can say which occurrences of a series are gone.

    Raises:
        CursorExpired: a series changed, or one that we know is gone and nothing else is.
    """
    rows = list(rows)
    removed = [payloads.id_of(row) for row in rows if payloads.is_removed(row)]
    taken_away = [each for each in removed if each is not None and place.knows(each)]
    if next(_parts(rows), None) is not None or (taken_away and len(taken_away) == len(removed)):
        raise CursorExpired("outlook: a series changed, and the feed does not tell which occurrences are gone")


def _parts(rows: Iterable[object]) -> Iterator[dict[str, Any]]:
    live = (row for row in rows if isinstance(row, dict) and not payloads.is_removed(row))
    return (row for row in live if str(row.get("type")) in _PARTS or row.get("seriesMasterId"))
