"""What came of one run of the commit task."""

from __future__ import annotations

from dataclasses import dataclass

from sync.domain import Reason


@dataclass(frozen=True, slots=True)
class Accepted:
    """Decided yes. ``follow`` names the writes that carry the news."""

    reason: Reason
    follow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Decided no."""

    reason: Reason
    follow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A following write is done, or turned out to be unnecessary. ``follow`` names itself if there is more to show."""

    what: str
    follow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing to do for this run: decided before, or in somebody else's hands."""

    why: str


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The row waits ``seconds``; ``code`` says for what."""

    seconds: float
    code: str


Outcome = Accepted | Refused | Written | Skipped | Snoozed
