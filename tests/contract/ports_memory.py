"""The calendar in memory on the workbench."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from providers.memory import MemoryCalendar
from sync.domain import Interval, RemoteEvent, RemoteId, Unparsed
from sync.errors import (
    CredentialReadOnly,
    CredentialRevoked,
    Forbidden,
    Malformed,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    WatertightError,
    WriteOutcomeUnknown,
)
from tests.contract.ports_bench import NEEDS, RETRY_AFTER_SECONDS, Bench, Can, Implementation, Trouble, hours

_ALIKE: dict[Trouble, WatertightError] = {
    Trouble.LIMITED: RateLimited("429", retry_after=RETRY_AFTER_SECONDS),
    Trouble.REVOKED: CredentialRevoked("revoked"),
    Trouble.FORBIDDEN: Forbidden("403"),
    Trouble.READ_ONLY: CredentialReadOnly("403"),
}


class MemoryBench:
    """Faults are the errors themselves: what a vendor's answer becomes is the clients' affair."""

    lacks: Mapping[Can, str] = {}

    def __init__(self) -> None:
        self.calendar = MemoryCalendar("memory")

    def put(self, interval: Interval, title: str = "Dentist") -> RemoteId:
        return self.calendar.put(interval, title).remote_id

    def retitle(self, remote_id: RemoteId, title: str) -> None:
        state = self.calendar.rows[remote_id].state
        assert isinstance(state, RemoteEvent)
        self.calendar.put(state.interval, title, remote_id=remote_id)

    def remove(self, remote_id: RemoteId) -> None:
        self.calendar.remove(remote_id)

    def plant_malformed(self) -> RemoteId:
        remote_id = self.put(hours(0, 1))
        del self.calendar.rows[remote_id]
        self.calendar.unparsed.append(Unparsed(remote_id, "start", "is null", {"id": remote_id, "start": None}))
        for call in ("read_window", "find_event"):
            self.calendar.fail(call, Malformed("start", "is null"))
        return remote_id

    def titles(self) -> list[str]:
        return [event.title for event in self.calendar.events()]

    def expire_cursors(self) -> None:
        self.calendar.expire()

    def in_trouble(self, trouble: Trouble, call: str) -> MemoryCalendar:
        writing = call in NEEDS
        if trouble == Trouble.READ_ONLY and not writing:
            return self.calendar
        silence = ProviderTimeout if trouble == Trouble.SILENCE else ProviderUnavailable
        error = _ALIKE.get(trouble) or (WriteOutcomeUnknown("?") if writing else silence("?"))
        after = "after" if trouble in {Trouble.UNHEARD, Trouble.OTHER_EVENT} else "before"
        self.calendar.fail(call.split(maxsplit=1)[0], error, after=after)
        return self.calendar

    def heal(self) -> None:
        self.calendar.heal()


@contextmanager
def _opened() -> Iterator[Callable[[], Bench]]:
    yield MemoryBench


MEMORY = Implementation("memory", _opened)
