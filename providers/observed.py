"""Who hears of requests to vendors: nobody, until a process says who listens (``workers.metrics``, ``workers.tracing``).

What is told is vendor, route template, status and time; never a URL, a body or an account (P12).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

NO_ANSWER = "none"


@dataclass(slots=True)
class Call:
    """One request: ``status`` stays ``none`` where no answer came; ``seconds`` is known at its end."""

    vendor: str
    method: str
    route: str
    status: str = NO_ANSWER
    seconds: float = 0.0


class Listener(Protocol):
    """Called in the thread of the request, so it must be quick and raise nothing."""

    def ended(self, call: Call) -> None:
        """A request was answered, or not."""
        ...

    def parked(self, vendor: str, *, seconds: float) -> None:
        """The vendor asked to wait."""
        ...

    def turned_away(self, vendor: str, *, reason: str) -> None:
        """Our own gate let a request wait for later: ``parked`` or ``full``."""
        ...


@dataclass(slots=True)
class _Listeners:
    heard_by: list[Listener] = field(default_factory=list)


_listeners = _Listeners()
_current: ContextVar[Call | None] = ContextVar("current_call", default=None)


def listen(listener: Listener) -> None:
    """From now on this one hears of every request of the process."""
    _listeners.heard_by.append(listener)


def find_current() -> Call | None:
    """The request that this thread is at."""
    return _current.get()


@contextmanager
def observed(vendor: str, *, method: str, route: str) -> Iterator[Call]:
    """Around one request; who makes it tells the status."""
    call = Call(vendor, method, route)
    token, started = _current.set(call), time.monotonic()
    try:
        yield call
    finally:
        _current.reset(token)
        call.seconds = time.monotonic() - started
        for listener in _listeners.heard_by:
            listener.ended(call)


def tell_parked(vendor: str, *, seconds: float) -> None:
    for listener in _listeners.heard_by:
        listener.parked(vendor, seconds=seconds)


def tell_turned_away(vendor: str, *, reason: str) -> None:
    for listener in _listeners.heard_by:
        listener.turned_away(vendor, reason=reason)
