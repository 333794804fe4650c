"""A day on which a promise broke leaves behind what is needed to find out why."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.badday.bad_day import keep


def test_what_is_left_of_a_broken_day_outlives_its_directory(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="bad-day-", ignore_cleanup_errors=True) as folder:
        Path(folder, "outlook.jsonl").write_text("{}\n", encoding="utf-8")
        keep(folder)
    kept = Path(f"{folder}-kept")
    try:
        assert (kept / "outlook.jsonl").read_text(encoding="utf-8") == "{}\n"
        assert str(kept) in capsys.readouterr().err
        assert not Path(folder).exists()
    finally:
        shutil.rmtree(kept)
