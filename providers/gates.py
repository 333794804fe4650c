"""What stands between a transport and its vendor: a gate that keeps to the vendor's limits (P10).

The limiter of the fleet is ``providers.limits``; a transport knows only these two protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from sync.errors import RateLimited

DEFAULT_PARK_SECONDS = 5.0  # for a vendor that says "too fast" and not for how long


class NoRoom(RateLimited):
    """Our own gate refused, and nothing was sent. ``retry_after`` says when there may be room."""


class WritesExhausted(RateLimited):
    """The vendor takes no more writes for a while and still answers reads, so there is nothing to park."""


@dataclass(frozen=True, slots=True)
class Place:
    """The right to have one request under way: ``leave`` when it is over, ``abandon`` when the vendor may still be at it."""

    leave: Callable[[], None]
    abandon: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """No place now; there may be one in ``seconds``. ``parked`` tells that the vendor asked for it."""

    seconds: float
    parked: bool = False


class Gate(Protocol):
    """The limits of one account at one vendor. Thread-safe."""

    def enter(self, *, route: str) -> AbstractContextManager[None]:
        """Hold a place while one request is on its way; ``route`` is its template. Waits two seconds at most.

        Raises:
            NoRoom: the request would go over a limit, or the vendor asked everybody to wait.
        """
        ...

    def park(self, seconds: float | None) -> None:
        """The vendor said "too fast": nobody enters for ``seconds`` (None: it did not say how long)."""
        ...


class Limits(Protocol):
    """Where gates come from."""

    def gate(self, vendor: str, *, app: str, account: str) -> Gate:
        """The gate of ``account`` (mailbox, person, portal, key), asked by ``app`` (the vendor's name for our credential)."""
        ...


class _Open:
    """A gate that lets everybody through, and the limiter that has no other."""

    @contextmanager
    def enter(self, *, route: str) -> Iterator[None]:  # noqa: ARG002 - the protocol's signature
        yield

    def park(self, seconds: float | None) -> None:
        """Nobody to keep out."""

    def gate(self, vendor: str, *, app: str, account: str) -> Gate:  # noqa: ARG002 - the protocol's signature
        return self


OPEN: Gate = _Open()
UNLIMITED: Limits = _Open()
