"""What docs/security.md says about erasing one person is true: its SQL is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Engine, text

from models.base import Base
from sync.domain import Attendee
from sync.intake import Request, receive
from tests.integration.world import World, at

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
PERSON = "person@example.com"
OTHER = "somebody.else@example.com"


def erasure() -> str:
    found = re.search(r"### Erase one person.*?```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    return found[1].removeprefix("BEGIN;\n").removesuffix(";\nCOMMIT;\n")


def everything(owner: Engine) -> str:
    with owner.connect() as connection:
        rows = [
            str(row)
            for name in Base.metadata.tables
            for row in connection.execute(text(f"SELECT to_jsonb(t)::text FROM {name} t")).scalars()  # noqa: S608
        ]
    return "\n".join(rows)


def test_the_documented_erasure_removes_one_person_and_nobody_else(world: World, owner_engine: Engine) -> None:
    for hour, address in ((10, PERSON), (12, OTHER)):
        guest = Attendee("Some Name", address)
        wish = Request(f"key-{hour}", "dana", at(hour), f"Visit of {address}", attendees=(guest,))
        proposal = receive(world.app, wish).id
        world.settle()
        assert world.reason(proposal) == "accepted"
    world.detect_all()
    world.settle()
    assert PERSON in everything(owner_engine)
    booked = world.booked()
    with owner_engine.begin() as connection:
        for statement in erasure().split(";\n"):
            connection.exec_driver_sql(statement.replace("%", "%%"))
    left = everything(owner_engine)
    assert (PERSON in left, OTHER in left) == (False, True)
    assert world.booked() == booked
