"""Every method of the calendar ports times everything that can go wrong, over every implementation (sync/ports.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import tenacity

from sync.domain import ChangeSet, RemoteEvent
from sync.errors import (
    CredentialReadOnly,
    CredentialRevoked,
    Forbidden,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    WatertightError,
    WriteOutcomeUnknown,
)
from tests.contract.ports_bench import (
    CALLS,
    KEY,
    NEEDS,
    READS,
    RETRY_AFTER_SECONDS,
    WRITES,
    Bench,
    Implementation,
    Prepared,
    Trouble,
    draft,
    need,
    prepare,
)
from tests.contract.ports_implementations import IMPLEMENTATIONS

NONSENSE = (Trouble.HTML, Trouble.EMPTY, Trouble.TRUNCATED, Trouble.ERROR_IN_OK)

READING: dict[Trouble, type[WatertightError]] = {
    Trouble.LIMITED: RateLimited,
    Trouble.ERROR: ProviderUnavailable,
    Trouble.UNAVAILABLE: ProviderUnavailable,
    **dict.fromkeys(NONSENSE, ProviderUnavailable),
    Trouble.SILENCE: ProviderTimeout,
    Trouble.REVOKED: CredentialRevoked,
    Trouble.FORBIDDEN: Forbidden,
}
REFUSED: dict[Trouble, type[WatertightError]] = {
    Trouble.LIMITED: RateLimited,
    Trouble.ERROR: WriteOutcomeUnknown,  # nothing was written this time, and nobody can know
    Trouble.UNAVAILABLE: WriteOutcomeUnknown,
    Trouble.REVOKED: CredentialRevoked,
    Trouble.FORBIDDEN: Forbidden,
    Trouble.READ_ONLY: CredentialReadOnly,
}


@pytest.fixture(scope="module", params=IMPLEMENTATIONS, ids=lambda each: each.name)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[], Bench]]:
    implementation: Implementation = request.param
    with implementation.opened() as make:
        yield make


@pytest.fixture
def bench(make: Callable[[], Bench], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    bench = make()
    yield bench
    bench.heal()


def ready(bench: Bench, call: str) -> Prepared:
    if call in NEEDS:
        need(bench, NEEDS[call])
    return prepare(bench)


@pytest.mark.parametrize("call", READS)
def test_a_read_that_fails_says_so_and_never_answers_less(bench: Bench, call: str) -> None:
    known = ready(bench, call)
    for trouble, expected in READING.items():
        calendar = bench.in_trouble(trouble, call)
        with pytest.raises(expected) as caught:
            CALLS[call](calendar, known)
        assert _asked_to_wait(caught.value) == (RETRY_AFTER_SECONDS if trouble == Trouble.LIMITED else None)
        bench.heal()
    assert CALLS[call](bench.calendar, known) != []


def test_a_credential_that_may_only_read_reads(bench: Bench) -> None:
    known = ready(bench, "read_window")
    reading = bench.in_trouble(Trouble.READ_ONLY, "read_window")
    for ask in READS.values():
        assert _told(ask(reading, known)) == _told(ask(bench.calendar, known))


def _told(answer: object) -> object:
    """Without the cursor, which may be the time of day."""
    return (answer.changes, answer.full) if isinstance(answer, ChangeSet) else answer


@pytest.mark.parametrize("call", WRITES)
def test_a_write_that_is_refused_changes_nothing(bench: Bench, call: str) -> None:
    known, before = ready(bench, call), bench.titles()
    for trouble, expected in REFUSED.items():
        calendar = bench.in_trouble(trouble, call)
        with pytest.raises(expected) as caught:
            CALLS[call](calendar, known)
        assert _asked_to_wait(caught.value) == (RETRY_AFTER_SECONDS if trouble == Trouble.LIMITED else None)
        assert bench.titles() == before
        bench.heal()


def _asked_to_wait(error: object) -> float | None:
    waiting: float | None = getattr(error, "retry_after", None)
    return waiting


@pytest.mark.parametrize("trouble", [*NONSENSE, Trouble.SILENCE, Trouble.UNHEARD])
@pytest.mark.parametrize("call", WRITES)
def test_a_write_without_a_good_answer_is_of_unknown_outcome(bench: Bench, call: str, trouble: Trouble) -> None:
    known = ready(bench, call)
    with pytest.raises(WriteOutcomeUnknown):
        CALLS[call](bench.in_trouble(trouble, call), known)


@pytest.mark.parametrize("trouble", [Trouble.UNHEARD, Trouble.HTML, Trouble.SILENCE])
def test_a_creation_of_unknown_outcome_is_safe_with_the_same_key(bench: Bench, trouble: Trouble) -> None:
    known = ready(bench, "create")
    with pytest.raises(WriteOutcomeUnknown):
        CALLS["create"](bench.in_trouble(trouble, "create"), known)
    bench.heal()
    made = bench.calendar.create(draft(), key=KEY)
    assert bench.calendar.find_by_key(KEY) == made
    assert sorted(bench.titles()) == ["Dentist", "Showing"]


def test_a_creation_that_is_answered_with_another_event_is_not_believed(bench: Bench) -> None:
    """Else undoing it would undo a person's event."""
    known = ready(bench, "create")
    try:
        made = bench.in_trouble(Trouble.OTHER_EVENT, "create").create(draft(), key=KEY)
    except WriteOutcomeUnknown:
        bench.heal()
        made = bench.calendar.create(draft(), key=KEY)
    assert isinstance(made, RemoteEvent)
    assert (made.remote_id != known.foreign.remote_id, made.title) == (True, "Showing")
    assert sorted(bench.titles()) == ["Dentist", "Showing"]


def test_an_update_of_unknown_outcome_shows_when_read(bench: Bench) -> None:
    known = ready(bench, "update")
    with pytest.raises(WriteOutcomeUnknown):
        CALLS["update"](bench.in_trouble(Trouble.UNHEARD, "update"), known)
    bench.heal()
    now = bench.calendar.find_event(known.foreign.remote_id)
    assert now is not None
    assert (now.interval, now.version != known.foreign.version) == (draft().interval, True)


def test_a_deletion_of_unknown_outcome_may_be_repeated(bench: Bench) -> None:
    known = ready(bench, "delete")
    with pytest.raises(WriteOutcomeUnknown):
        CALLS["delete"](bench.in_trouble(Trouble.UNHEARD, "delete"), known)
    bench.heal()
    CALLS["delete"](bench.calendar, known)
    assert bench.titles() == []
