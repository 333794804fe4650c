"""A place in a vendor's feed, and which series the feed has shown up to there.

Feeds tell what is new about an event. When a series is deleted or shortened, some only tell that the series changed, and
nobody learns which of its occurrences are gone. A reader that keeps nothing else knows from its cursor that an id is
the id of a series.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

_MARK = "#series="
_DIGITS = 8  # of a digest; two series that share one cost a full read too many


@dataclass(frozen=True, slots=True)
class Place:
    """``link`` is the vendor's own cursor; ``series`` are digests, since ids are long."""

    link: str
    series: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.link}{_MARK}{'.'.join(sorted(self.series))}" if self.series else self.link

    def knows(self, series_id: str) -> bool:
        return _digest(series_id) in self.series

    def moved(self, link: str, *, seen: Iterable[str] = ()) -> Place:
        return Place(link, self.series | {_digest(series_id) for series_id in seen})


def read_place(cursor: str) -> Place:
    link, _, series = cursor.partition(_MARK)
    return Place(link, frozenset(series.split(".")) if series else frozenset())


def _digest(series_id: str) -> str:
    return hashlib.sha256(series_id.encode()).hexdigest()[:_DIGITS]
