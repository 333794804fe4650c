"""How much is run, and where the figures go: ``WATERTIGHT_TEST_FULL=1`` and ``WATERTIGHT_TEST_FIGURES=file``."""

from __future__ import annotations

import json
import os
from pathlib import Path

FULL = os.environ.get("WATERTIGHT_TEST_FULL") == "1"


def record(what: str, **figures: object) -> None:
    """Append one line of JSON for whoever collects them; a test process of several adds a line of its own."""
    if file := os.environ.get("WATERTIGHT_TEST_FIGURES"):
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"what": what, "full": FULL, **figures}, default=str) + "\n")
