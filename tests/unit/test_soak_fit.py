"""A soak's line through samples: growth is seen, and scatter is not taken for it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.soak.fit import Point, fit, is_age_flat, is_memory_flat, memory_limit
from tests.soak.samples import Sample, growths, replaced

SOAK = [float(seconds) for seconds in range(720, 1800, 10)]  # the samples of half an hour after the warm-up


def line(per_hour: float, *, start: float = 80.0, scatter: float = 0.0, seed: int = 1) -> list[Point]:
    rand = random.Random(seed)  # noqa: S311 - scatter, not a secret
    return [(at, start + per_hour * at / 3600 + rand.gauss(0, scatter)) for at in SOAK]


def test_an_exact_line_is_found_exactly() -> None:
    found = fit(line(36.0))
    assert found.per_hour == pytest.approx(36.0)
    assert found.start == pytest.approx(80.0)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert found.surely_per_hour == pytest.approx(36.0)
    assert found.grown == pytest.approx(36.0 * 1070 / 3600)


@pytest.mark.parametrize("points", [[], [(0.0, 5.0)], [(0.0, 5.0), (10.0, 500.0)]])
def test_too_few_samples_say_nothing_of_growth(points: list[Point]) -> None:
    assert (fit(points).per_hour, is_memory_flat(fit(points))) == (0.0, True)


def test_samples_of_one_moment_have_no_slope() -> None:
    assert fit([(1.0, 2.0), (1.0, 4.0), (1.0, 6.0)]).slope == 0.0


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scatter", [0.0, 1.0, 5.0])
def test_a_leak_is_seen_through_scatter(scatter: float, seed: int) -> None:
    assert not is_memory_flat(fit(line(60.0, scatter=scatter, seed=seed)))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scatter", [0.0, 1.0, 5.0])
def test_scatter_and_a_settling_allocator_are_flat(scatter: float, seed: int) -> None:
    assert is_memory_flat(fit(line(0.0, scatter=scatter, seed=seed)))
    assert is_memory_flat(fit(line(10.0, scatter=scatter, seed=seed)))


def test_what_shrinks_is_flat() -> None:
    assert is_memory_flat(fit(line(-200.0)))
    assert is_age_flat(fit(line(-200.0)))


def test_a_big_process_may_move_by_a_tenth_an_hour() -> None:
    assert memory_limit(fit(line(0.0, start=1000.0))) == pytest.approx(100.0)
    assert is_memory_flat(fit(line(90.0, start=1000.0)))
    assert not is_memory_flat(fit(line(130.0, start=1000.0)))


def test_a_queue_that_ages_is_seen_and_one_that_swings_is_flat() -> None:
    assert not is_age_flat(fit(line(600.0, start=0.0, scatter=10.0)))
    assert is_age_flat(fit([(at, 25.0 * (number % 2)) for number, at in enumerate(SOAK)]))


def sample(at: float, *, grown: float = 0.0, age: float = 0.0, pid: int = 7) -> Sample:
    memory = {"commit": 80.0 + grown, "emulator-google": 80.0 + 9 * grown}
    pids = {"commit": pid, "emulator-google": 8}
    return Sample(at, memory, memory, pids, messages=3, oldest_seconds=age, open=2)


def verdicts(samples: list[Sample]) -> dict[str, bool]:
    return {one.name: one.flat for one in growths(samples, warm_up=720.0)}


def test_only_a_vendors_emulator_may_grow() -> None:
    found = verdicts([sample(at, grown=at / 60) for at in SOAK])
    assert (found["commit"], found["emulator-google"]) == (False, True)
    assert found["age of the oldest due"]


def test_growth_before_the_end_of_the_warm_up_does_not_count() -> None:
    cold = [sample(float(at), grown=at / 2 - 360) for at in range(0, 720, 10)]
    assert all(verdicts([*cold, *(sample(at) for at in SOAK)]).values())


def test_a_queue_that_ages_fails_the_soak() -> None:
    assert not verdicts([sample(at, age=at / 4) for at in SOAK])["age of the oldest due"]


def test_a_program_that_ended_is_named() -> None:
    steady = [sample(at) for at in SOAK]
    assert replaced(steady) == []
    assert replaced([*steady, replace(steady[-1], pids={"commit": 9, "emulator-google": 8})]) == ["commit"]
