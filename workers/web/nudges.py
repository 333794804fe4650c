"""Waking the commit task without making anybody wait for the broker, which takes seconds to be found away."""

from __future__ import annotations

import asyncio

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Request

from workers.nudge import nudge

AT_ONCE = 4
MOST_UNDER_WAY = 1_000  # beyond it ResumeCommits finds them


class Nudges:
    """Nudges under way, in threads of their own, so that a broker that is away takes none from anybody else."""

    def __init__(self) -> None:
        self._threads: CapacityLimiter | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, reference: str, *, about: str) -> None:
        """Begin to send, and return. The row is the truth: what gets lost is found there."""
        if len(self._under_way) >= MOST_UNDER_WAY:
            return
        task = asyncio.create_task(self._send(reference, about))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _send(self, reference: str, about: str) -> None:
        self._threads = self._threads or CapacityLimiter(AT_ONCE)
        await anyio.to_thread.run_sync(lambda: nudge([reference], about=about), limiter=self._threads)


def nudge_soon(request: Request, proposal_id: int, *, about: str) -> None:
    """Wake the commit task for a new proposal. ``about`` (agent and calendar) is for Flower's eyes only."""
    nudges: Nudges = request.app.state.nudges
    nudges.send(f"proposal:{proposal_id}", about=about)
