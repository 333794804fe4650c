"""Nothing that people, vendors, clocks and dying workers do breaks a promise."""

from __future__ import annotations

import os
import sys
import time
from typing import cast

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.property.machine import Watertight
from tests.property.stage import Stage

PROFILE = os.environ.get("WATERTIGHT_PROFILE", "ci")
SEED = int(os.environ.get("WATERTIGHT_SEED", "1"))
STEPS = int(os.environ.get("WATERTIGHT_STEPS", "1"))  # rounds follow, each with the next seed, until there were so many


@pytest.mark.timeout(0)
def test_nothing_that_may_happen_breaks_a_promise(stage: Stage) -> None:
    began, number = time.monotonic(), SEED
    try:
        while stage.counts["steps"] < STEPS or number == SEED:
            play(stage, number)
            number += 1
            sys.stdout.write(f"seed {number - 1}: {stage.counts['steps']} steps so far\n")
            sys.stdout.flush()
    finally:
        report(stage, seconds=time.monotonic() - began, rounds=number - SEED)


def play(stage: Stage, number: int) -> None:
    """One round: as many examples as the profile says, all of them determined by the seed."""

    @seed(number)
    def machine() -> Watertight:
        return Watertight(stage)

    try:
        run_state_machine_as_test(
            cast("type[RuleBasedStateMachine]", machine), settings=settings.get_profile(f"watertight-{PROFILE}")
        )
    except BaseException as error:
        error.add_note(f"replay with: make replay SEED={number} PROFILE={PROFILE}")
        raise


def report(stage: Stage, *, seconds: float, rounds: int) -> None:
    """Seen with ``pytest -s``, and by pytest itself after a failure."""
    steps = stage.counts["steps"]
    lines = [f"{name}: {number}" for name, number in sorted(stage.counts.items())]
    total = f"{steps} steps in {seconds:.0f} s ({steps / seconds:.0f}/s), seeds {SEED} to {SEED + max(rounds, 1) - 1}"
    sys.stdout.write("\n".join(["", *lines, f"profile {PROFILE}: {total}", ""]))
