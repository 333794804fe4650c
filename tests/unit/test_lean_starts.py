"""What is started often, and by itself needs little, loads little: hundreds of starts add up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = "import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("workers.emulate", {"sqlalchemy", "celery", "typer", "fastapi", "uvicorn"}),
        ("workers.cli", {"alembic", "fastapi", "uvicorn"}),
    ],
)
def test_it_does_not_load_what_it_may_never_need(module: str, spared: set[str]) -> None:
    code = LOADED.format(module=module)
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert spared & set(told.stdout.split()) == set()
