"""Our cursor: the vendor has none, so it is the moment up to which everything was read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from providers.moments import parse_instant
from sync.errors import CursorExpired, Malformed

# Read again each time: a booking becomes visible later than its time says, as reads are answered by a replica.
OVERLAP = timedelta(minutes=5)
_AHEAD = timedelta(hours=1)  # by which the vendor's clock may be before ours


def dump_cursor(mark: datetime) -> str:
    return json.dumps({"v": 1, "mark": mark.isoformat()})


def parse_cursor(cursor: str) -> datetime:
    """The moment from which to read on, the overlap included.

    Raises:
        CursorExpired: it is not one of ours, or lies in the future and would leave changes out.
    """
    try:
        match json.loads(cursor):
            case {"v": 1, "mark": str(text)}:
                mark = parse_instant(text, field="mark")
            case _:
                raise CursorExpired("calcom: not a cursor of this adapter")
    except (ValueError, RecursionError, Malformed) as error:
        raise CursorExpired("calcom: not a cursor of this adapter") from error
    if mark > datetime.now(UTC) + _AHEAD:
        raise CursorExpired("calcom: the cursor lies in the future")
    return mark - OVERLAP
