"""What the demo's people did, and when: the other side of every comparison with what came of it."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

from models.figures import ProposalFigure


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody changed an event at a vendor. ``moment`` is when they began, ``version`` what the vendor made of it."""

    moment: datetime
    version: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that our own API took on."""

    key: str
    proposal_id: int
    moment: datetime


class Diary:
    """Written by several threads. An HTTP error in the traffic is counted, not fatal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: dict[str, list[Change]] = defaultdict(list)
        self._asked: dict[str, Asked] = {}
        self._errors: Counter[str] = Counter()

    def changed(self, remote_id: str, *, moment: datetime, version: str | None) -> None:
        with self._lock:
            self._changes[remote_id].append(Change(moment, version))

    def asked(self, key: str, *, proposal_id: int, moment: datetime) -> None:
        with self._lock:
            self._asked[key] = Asked(key, proposal_id, moment)

    def failed(self, where: str) -> None:
        with self._lock:
            self._errors[where] += 1

    def errors(self) -> dict[str, int]:
        with self._lock:
            return dict(self._errors)

    def taken_on(self) -> list[Asked]:
        """Every request that was answered with success."""
        with self._lock:
            return list(self._asked.values())

    def count(self) -> int:
        """How many things people did."""
        with self._lock:
            return len(self._asked) + sum(map(len, self._changes.values()))

    def moment_of(self, proposal: ProposalFigure) -> datetime | None:
        """When the person acted whose wish this is; None for wishes that are not of this diary.

        A vendor's version names the change exactly. A deletion has none: it is the last change before the proposal.
        """
        with self._lock:
            if proposal.remote_id is None:
                asked = self._asked.get(proposal.key.removeprefix("request:"))
                return asked.moment if asked else None
            changes = self._changes.get(proposal.remote_id, [])
            named = [change.moment for change in changes if change.version == proposal.remote_version]
            earlier = [change.moment for change in changes if change.moment <= proposal.created_at]
        candidates = named or earlier
        return candidates[-1] if candidates else None


def now() -> datetime:
    return datetime.now(UTC)
