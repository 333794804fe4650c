"""No record, however damaged, breaks the batch that it came in. The same at full size: ``tests/fuzz``."""

from __future__ import annotations

import pytest

from tests.fuzz.vendors import VENDORS, Vendor
from tests.fuzz.verdict import fuzz


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_every_damaged_record_is_read_or_set_aside(vendor: Vendor) -> None:
    tally = fuzz(vendor, count=2000 if "form" not in vendor.name else 500, seed=0)
    assert {"parsed", "quarantined"} <= tally.counts.keys()
