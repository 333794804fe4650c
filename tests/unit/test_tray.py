"""Deliveries that wait for the database: together, in turn, and each with its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import OperationalError

from sync.errors import NotFound
from sync.hints import Received, Taken
from workers.web.tray import MOST_AT_ONCE, Tray


class Table:
    """Keeps what it is given once it is let; a provider called "stranger" is not found, "broken" breaks the lot."""

    def __init__(self) -> None:
        self.lots: list[list[str]] = []
        self.began, self.may = threading.Event(), threading.Event()

    def keep(self, received: Sequence[Received]) -> list[Taken | NotFound]:
        names = [one.provider for one in received]
        self.lots.append(names)
        self.began.set()
        assert self.may.wait(20)
        if "broken" in names:
            raise OperationalError("INSERT", {}, Exception("away"))
        return [NotFound(name) if name == "stranger" else Taken(1) for name in names]


async def give(table: Table, *names: str) -> list[object]:
    """The answers of these, which all come while "first" is being kept."""
    tray = Tray(table.keep)
    first = asyncio.create_task(tray.take("first", ()))
    await asyncio.to_thread(table.began.wait, 20)
    others = [asyncio.create_task(tray.take(name, ())) for name in names]
    await asyncio.sleep(0)  # each has put its own into the tray
    table.may.set()
    assert await first == Taken(1)
    return list(await asyncio.gather(*others, return_exceptions=True))


def test_what_comes_meanwhile_goes_together_and_each_gets_its_own_answer() -> None:
    table = Table()
    answers = asyncio.run(give(table, "a", "stranger", "b"))
    assert table.lots == [["first"], ["a", "stranger", "b"]]
    assert answers[0] == answers[2] == Taken(1)
    assert isinstance(answers[1], NotFound)


def test_a_storm_goes_in_lots() -> None:
    table = Table()
    asyncio.run(give(table, *("a" for _ in range(MOST_AT_ONCE + 1))))
    assert [len(lot) for lot in table.lots] == [1, MOST_AT_ONCE, 1]


def test_a_database_that_is_away_is_said_to_everybody_it_concerns_and_to_nobody_after() -> None:
    table = Table()

    async def break_then_go_on() -> tuple[list[object], Taken]:
        tray = Tray(table.keep)
        table.may.set()
        lot = await asyncio.gather(tray.take("a", ()), tray.take("broken", ()), return_exceptions=True)
        return list(lot), await tray.take("later", ())

    failed, later = asyncio.run(break_then_go_on())
    assert [type(answer) for answer in failed] == [OperationalError] * 2
    assert later == Taken(1)


def test_a_sender_that_hangs_up_takes_no_answer_from_others() -> None:
    table = Table()

    async def hang_up() -> Taken:
        tray = Tray(table.keep)
        gone = asyncio.create_task(tray.take("gone", ()))
        await asyncio.to_thread(table.began.wait, 20)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        table.may.set()
        return await tray.take("other", ())

    assert asyncio.run(hang_up()) == Taken(1)
