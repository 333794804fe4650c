"""Run ``watertight`` as its users do: in this process where nothing stays behind, else as a program of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from models.session import make_engine
from workers import cli, wiring

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


@dataclass
class Commands:
    """What a person types. ``env`` holds the settings, without the prefix."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    env: dict[str, str]

    def __call__(self, *arguments: str, **more: str) -> Answer:
        for name, value in {**self.env, **more}.items():
            self.monkeypatch.setenv(f"WATERTIGHT_{name}", value)
        self.monkeypatch.setattr(sys, "argv", ["watertight", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        seen = self.capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 0, seen.out, seen.err)

    def program(self, *arguments: str, **more: str) -> Answer:
        told = {f"WATERTIGHT_{name}": value for name, value in {**self.env, **more}.items()}
        done = subprocess.run(
            [sys.executable, "-m", "workers.cli", *arguments], cwd=ROOT, env=os.environ | told, capture_output=True, text=True, timeout=100, check=False
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)


@contextmanager
def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, state_dir: Path
) -> Iterator[Commands]:
    """Commands without settings but an empty state directory; connections and log handlers are put away afterwards."""
    for name in list(os.environ):
        if name.startswith("WATERTIGHT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(state_dir)
    engines: list[Engine] = []

    def making(url: str, *, role: str | None = None, pool_size: int = 5) -> Engine:
        engines.append(make_engine(url, role=role, pool_size=pool_size))
        return engines[-1]

    monkeypatch.setattr(wiring, "make_engine", making)
    monkeypatch.setattr(cli, "make_engine", making)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield Commands(monkeypatch, capsys, {"STATE_DIR": str(state_dir / "state")})
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for engine in engines:
            engine.dispose()
