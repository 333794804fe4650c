"""Waiting for decisions without holding a thread: one query for all who wait, and none while nobody does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection

import structlog
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from models.decisions import list_decided
from models.session import transaction
from workers.app import runtime

LOOK_SECONDS = 0.05
MOST_WAITERS = 1_000

log = structlog.get_logger(__name__)


class Watcher:
    """Looks for the decisions that requests of this process wait for. Belongs to one event loop."""

    def __init__(self, find_decided: Callable[[Collection[int]], set[int]]) -> None:
        self._find_decided = find_decided
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def waiters(self) -> int:
        return len(self._waiting)

    async def wait(self, proposal_id: int, seconds: float, *, request: Request) -> None:
        """Returns when the proposal is decided, after ``seconds``, or when the client has gone; at once in a crowd."""
        if seconds <= 0 or len(self._waiting) >= MOST_WAITERS:
            return
        decided = asyncio.get_running_loop().create_future()
        gone = asyncio.create_task(_disconnected(request))
        self._waiting[decided] = proposal_id
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait((decided, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waiting[decided]
            gone.cancel()

    async def _look(self) -> None:
        while self._waiting:
            found = await self._decided()
            for decided, proposal_id in self._waiting.items():
                if proposal_id in found and not decided.done():
                    decided.set_result(None)
            await asyncio.sleep(LOOK_SECONDS)

    async def _decided(self) -> set[int]:
        """None while the database is away: whoever waits is told later, or that it is pending."""
        try:
            return await run_in_threadpool(self._find_decided, set(self._waiting.values()))
        except SQLAlchemyError as error:
            log.warning("waiting.database_away", error=type(error).__name__)
            return set()


async def _disconnected(request: Request) -> None:
    """Returns when the client hangs up. What it still sends is of no interest: its body was read."""
    with contextlib.suppress(Exception):
        while (await request.receive())["type"] != "http.disconnect":
            pass


def _find_decided(proposal_ids: Collection[int]) -> set[int]:
    with transaction(runtime().sessions) as session:
        return list_decided(session, proposal_ids)


def install() -> Watcher:
    """A watcher over the database of this process."""
    return Watcher(_find_decided)


async def await_decision(request: Request, proposal_id: int, seconds: float) -> None:
    """As ``Watcher.wait``, with the watcher of the application that got the request."""
    watcher: Watcher = request.app.state.watcher
    await watcher.wait(proposal_id, seconds, request=request)
