"""Deliveries on their way into the database: those that come while others are being kept go together into the next transaction.

One transaction at a time, so a storm costs as few of them as the database is slow, and takes one thread from everybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.concurrency import run_in_threadpool

from sync.errors import NotFound
from sync.hints import Received, Taken
from sync.pushes import Push

MOST_AT_ONCE = 100

Keep = Callable[[Sequence[Received]], list[Taken | NotFound]]
Waiting = tuple[Received, "asyncio.Future[Taken | NotFound]"]


class Tray:
    """Belongs to one event loop. ``keep`` blocks, and has one answer for each that it is given."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._waiting: list[Waiting] = []
        self._emptying: asyncio.Task[None] | None = None

    async def take(self, provider: str, pushes: Sequence[Push]) -> Taken:
        """What became of one delivery.

        Raises:
            NotFound: not one of its pushes came through a channel of ours.
            SQLAlchemyError: the database did not keep it, nor any that went with it.
        """
        answer: asyncio.Future[Taken | NotFound] = asyncio.get_running_loop().create_future()
        self._waiting.append((Received(provider, tuple(pushes)), answer))
        if self._emptying is None or self._emptying.done():
            self._emptying = asyncio.create_task(self._empty())
        taken = await answer
        if isinstance(taken, NotFound):
            raise taken
        return taken

    async def _empty(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            try:
                told = await run_in_threadpool(self._keep, [received for received, _ in batch])
            except Exception as error:  # noqa: BLE001 - each sender is told, as if it had been alone
                _fail(batch, error)
            else:
                _tell(batch, told)


def _tell(batch: Sequence[Waiting], told: Sequence[Taken | NotFound]) -> None:
    for (_, answer), taken in zip(batch, told, strict=True):
        if not answer.done():  # its sender may have hung up
            answer.set_result(taken)


def _fail(batch: Sequence[Waiting], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
