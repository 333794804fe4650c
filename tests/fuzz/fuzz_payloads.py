"""Damaged records of every vendor, 100,000 each: ``pytest tests/fuzz -o 'python_files=fuzz_*.py' -o timeout=0 -s``.

``WATERTIGHT_FUZZ`` sets another number, ``WATERTIGHT_SEED`` another beginning.
"""

from __future__ import annotations

import os

import pytest

from tests.fuzz.vendors import VENDORS, Vendor
from tests.fuzz.verdict import fuzz

COUNT = int(os.environ.get("WATERTIGHT_FUZZ", "100000"))
SEED = int(os.environ.get("WATERTIGHT_SEED", "1"))


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_every_damaged_record_is_read_or_set_aside(vendor: Vendor) -> None:
    tally = fuzz(vendor, count=COUNT, seed=SEED)
    print(f"\n{tally}")  # noqa: T201 - the figures are what it is run for
    assert {"parsed", "quarantined"} <= tally.counts.keys()
