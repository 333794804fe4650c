"""Those who wait for decisions: everyone is told, and nobody who left is remembered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from sqlalchemy.exc import OperationalError
from starlette.requests import Request
from starlette.types import Message

from workers.web.waiting import MOST_WAITERS, Watcher

Receive = Callable[[], Awaitable[Message]]


@dataclass
class Table:
    """The proposals that are decided, and who asked for which."""

    decided: set[int] = field(default_factory=set)
    questions: list[set[int]] = field(default_factory=list)
    failures: int = 0
    asked: threading.Event = field(default_factory=threading.Event)

    def find(self, ids: Collection[int]) -> set[int]:
        self.questions.append(set(ids))
        self.asked.set()
        if self.failures:
            self.failures -= 1
            raise OperationalError("SELECT", {}, Exception("away"))
        return self.decided & set(ids)


def request(receive: Receive | None = None) -> Request:
    async def silence() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    return Request({"type": "http", "headers": []}, receive or silence)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing tells the test
            await asyncio.sleep(0.01)


async def idle(watcher: Watcher, table: Table) -> None:
    """Nobody waits, and nobody asks the table any more."""
    assert watcher.waiters == 0
    async with asyncio.timeout(20):
        while asyncio.all_tasks() - {asyncio.current_task()}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert table.asked.is_set()


def test_all_who_wait_are_told_by_one_question_at_a_time() -> None:
    async def play() -> None:
        table = Table()
        watcher = Watcher(table.find)
        waiting = [asyncio.create_task(watcher.wait(number % 50, 20, request=request())) for number in range(200)]
        await until(lambda: table.questions[-1:] == [set(range(50))])
        assert watcher.waiters == 200
        table.decided = set(range(50))
        await asyncio.gather(*waiting)
        await idle(watcher, table)

    asyncio.run(play())


def test_who_waited_long_enough_or_hung_up_is_forgotten() -> None:
    async def play() -> None:
        table = Table()
        watcher = Watcher(table.find)
        messages: list[Message] = [{"type": "http.request"}, {"type": "http.disconnect"}]

        async def hang_up() -> Message:
            return messages.pop(0)

        await watcher.wait(1, 0.1, request=request())
        await asyncio.wait_for(watcher.wait(1, 600, request=request(hang_up)), 20)
        dropped = asyncio.create_task(watcher.wait(1, 600, request=request()))
        await until(lambda: watcher.waiters == 1)
        dropped.cancel()
        await asyncio.wait([dropped])
        await idle(watcher, table)

    asyncio.run(play())


def test_a_database_that_is_away_for_a_while_ends_no_wait() -> None:
    async def play() -> None:
        table = Table(decided={1}, failures=2)
        watcher = Watcher(table.find)
        await asyncio.wait_for(watcher.wait(1, 600, request=request()), 20)
        assert len(table.questions) == 3
        await idle(watcher, table)

    asyncio.run(play())


def test_in_a_crowd_nobody_more_may_wait() -> None:
    async def play() -> None:
        table = Table()
        watcher = Watcher(table.find)
        crowd = [asyncio.create_task(watcher.wait(1, 600, request=request())) for _ in range(MOST_WAITERS)]
        await until(lambda: watcher.waiters == MOST_WAITERS)
        await asyncio.wait_for(watcher.wait(1, 600, request=request()), 5)
        await asyncio.wait_for(watcher.wait(1, 0, request=request()), 5)
        table.decided = {1}
        await asyncio.gather(*crowd)
        await idle(watcher, table)

    asyncio.run(play())
