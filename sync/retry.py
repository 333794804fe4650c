"""When to try again. Pure: time and randomness are passed in."""

from __future__ import annotations

from dataclasses import dataclass

from sync.errors import Contention, NeedsReread, Transient, WatertightError


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Try again after ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not try again; ``exhausted`` tells whether it was for want of attempts or because it can never work."""

    exhausted: bool


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff, half of each delay fixed and half random, so that the attempts cannot burn out at once.

    ``base`` and ``cap`` are seconds. ``max_attempts`` counts all tries, the first included.
    """

    max_attempts: int
    base: float
    cap: float

    def decide(self, error: BaseException, *, attempt: int, rand: float) -> RetryIn | GiveUp:
        """What to do after try number ``attempt`` (from 1) failed. ``rand`` is uniform in [0, 1).

        A vendor's Retry-After is a floor that even the cap does not lower (P10).
        """
        if not isinstance(error, Transient | NeedsReread):
            return GiveUp(exhausted=False)
        if attempt >= self.max_attempts and not isinstance(error, Contention):
            return GiveUp(exhausted=True)
        floor = error.retry_after if isinstance(error, Transient) else None
        return RetryIn(max(self.delay(attempt, rand=rand), floor or 0.0))

    def delay(self, attempt: int, *, rand: float) -> float:
        full: float = min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
        return full / 2 + rand * full / 2


def branch_of(error: BaseException) -> str:
    """The branch of the tree, as dead letters and Flower show it."""
    for cls in type(error).__mro__:
        if cls.__base__ is WatertightError:
            return cls.__name__
    return "Bug"
