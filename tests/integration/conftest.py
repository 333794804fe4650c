from __future__ import annotations

import pytest

from models.session import Sessions
from tests.integration.world import World


@pytest.fixture
def world(app_sessions: Sessions, commit_sessions: Sessions) -> World:
    """Agent dana with a master and a mirror."""
    world = World(app_sessions, commit_sessions)
    world.add_agent("dana")
    return world
