"""The retry policy, for every attempt and every throw of the dice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import (
    Contention,
    CredentialRevoked,
    CursorExpired,
    Malformed,
    MassChange,
    NotFound,
    ProviderTimeout,
    RateLimited,
    StaleVersion,
    WatertightError,
    WriteOutcomeUnknown,
)
from sync.retry import GiveUp, RetryIn, RetryPolicy, branch_of

policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(2, 50),
    base=st.floats(0.01, 10),
    cap=st.floats(10, 3600),
)
attempts = st.integers(1, 10_000)
rands = st.floats(0, 1, exclude_max=True)


@given(policies, attempts, rands)
def test_a_delay_is_at_least_half_of_its_step_and_within_the_cap(
    policy: RetryPolicy, attempt: int, rand: float
) -> None:
    step = min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 60))
    assert 0 < step / 2 <= policy.delay(attempt, rand=rand) <= policy.cap


@given(policies, st.integers(1, 100))
def test_delays_grow_until_the_cap(policy: RetryPolicy, attempt: int) -> None:
    assert policy.delay(attempt, rand=0.5) <= policy.delay(attempt + 1, rand=0.5)


@given(policies, rands, st.floats(0, 100_000))
def test_the_vendors_own_delay_is_a_floor_above_the_cap(policy: RetryPolicy, rand: float, after: float) -> None:
    decision = policy.decide(RateLimited("slow down", retry_after=after), attempt=1, rand=rand)
    assert isinstance(decision, RetryIn)
    assert decision.seconds >= after
    assert decision.seconds == max(after, policy.delay(1, rand=rand))


@given(policies, attempts, rands)
def test_it_gives_up_exactly_at_the_limit(policy: RetryPolicy, attempt: int, rand: float) -> None:
    decision = policy.decide(ProviderTimeout("slow"), attempt=attempt, rand=rand)
    assert (decision == GiveUp(exhausted=True)) == (attempt >= policy.max_attempts)


@given(
    policies,
    attempts,
    rands,
    st.sampled_from([NotFound("x"), Malformed("x", "y"), CredentialRevoked("x"), MassChange("x"), KeyError("x")]),
)
def test_what_cannot_help_is_never_tried_again(
    policy: RetryPolicy, attempt: int, rand: float, error: Exception
) -> None:
    assert policy.decide(error, attempt=attempt, rand=rand) == GiveUp(exhausted=False)


@given(policies, attempts, rands)
def test_waiting_for_another_worker_never_ends_in_giving_up(policy: RetryPolicy, attempt: int, rand: float) -> None:
    assert isinstance(policy.decide(Contention("busy"), attempt=attempt, rand=rand), RetryIn)


@pytest.mark.parametrize("error", [StaleVersion("x"), CursorExpired("x"), WriteOutcomeUnknown("x")])
def test_what_must_be_read_again_is_tried_again(error: WatertightError) -> None:
    assert isinstance(RetryPolicy(max_attempts=2, base=1, cap=2).decide(error, attempt=1, rand=0), RetryIn)


@pytest.mark.parametrize(
    ("error", "branch"),
    [
        (RateLimited("x"), "Transient"),
        (ProviderTimeout("x"), "Transient"),
        (StaleVersion("x"), "NeedsReread"),
        (Malformed("x", "y"), "Permanent"),
        (MassChange("x"), "NeedsHuman"),
        (KeyError("x"), "Bug"),
        (WatertightError("x"), "Bug"),
    ],
)
def test_the_branch_of_an_error(error: Exception, branch: str) -> None:
    assert branch_of(error) == branch
