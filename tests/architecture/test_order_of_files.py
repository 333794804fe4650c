"""The files that the suite begins with are there: one that was renamed would quietly come last."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import FIRST

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("scope", FIRST)
def test_what_comes_first_exists(scope: str) -> None:
    assert (ROOT / scope).exists()
