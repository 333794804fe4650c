from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from models.session import Sessions
from tests.integration.commands import Commands, typed
from tests.integration.office import Office, open_office
from tests.integration.world import World
from workers.embedded import EmbeddedValkey


@pytest.fixture
def world(app_sessions: Sessions, commit_sessions: Sessions) -> World:
    """Agent dana with a master and a mirror."""
    world = World(app_sessions, commit_sessions)
    world.add_agent("dana")
    return world


@pytest.fixture
def watertight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Commands]:
    """The commands, without settings."""
    with typed(monkeypatch, capsys, state_dir=tmp_path) as commands:
        yield commands


@pytest.fixture
def office(watertight: Commands, tmp_path: Path, owner_engine: Engine) -> Iterator[Office]:
    """The commands among vendors' emulators, without a broker."""
    with open_office(watertight, tmp_path, owner_engine) as office:
        yield office


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker for a module's tests."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey.url()
