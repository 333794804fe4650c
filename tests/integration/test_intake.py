"""The same wish delivered again is the same proposal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync.domain import Attendee
from sync.errors import Malformed, NotFound
from sync.intake import Request, receive
from tests.integration.world import World, at

REQUEST = Request("k", "dana", at(10), "Demo", attendees=(Attendee("Ann", "ann@example.test"),))


def test_the_same_key_twice_is_one_proposal(world: World) -> None:
    first, second = receive(world.app, REQUEST), receive(world.app, REQUEST)
    assert (first.id, first.created) == (second.id, True)
    assert not second.created
    world.settle()
    assert receive(world.app, REQUEST).id == first.id
    assert world.booked() == [at(10)]


@pytest.mark.parametrize(
    "other", [replace(REQUEST, interval=at(11)), replace(REQUEST, title="X"), replace(REQUEST, attendees=())]
)
def test_a_key_used_for_something_else_is_refused(world: World, other: Request) -> None:
    receive(world.app, REQUEST)
    with pytest.raises(Malformed):
        receive(world.app, other)
    assert len(world.proposals()) == 1


def test_an_unknown_agent_is_refused(world: World) -> None:
    with pytest.raises(NotFound):
        receive(world.app, replace(REQUEST, agent="nobody"))
