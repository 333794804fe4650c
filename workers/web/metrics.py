"""``GET /metrics``: for programs of this machine, and with a token of the scope ``metrics`` from elsewhere."""

from __future__ import annotations

import time
from functools import cached_property

from fastapi import APIRouter, Request, Response
from kombu.connection import Connection
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from sync.tokens import Scope, digest_of
from workers.app import app, settings
from workers.metrics import CONTENT_TYPE, ProcessCollector, exposition
from workers.standing import SOCKET_SECONDS, StandingCollector, connect
from workers.web.auth import admit
from workers.web.loopback import is_from_here
from workers.wiring import APP_ROLE

TRUSTED_SECONDS = 900.0

router = APIRouter()


def broker() -> Connection:
    options = {"socket_timeout": SOCKET_SECONDS, "socket_connect_timeout": SOCKET_SECONDS}
    made: Connection = app.connection_for_read(transport_options=app.conf.broker_transport_options | options)
    return made


class Watched:
    """What one process shows, and who may ask while the database, which knows the tokens, is away."""

    def __init__(self) -> None:
        self._trusted: dict[str, float] = {}

    @cached_property
    def _standing(self) -> StandingCollector:
        """Made at the first scrape, as everything that connects."""
        return StandingCollector(connect(settings().database(), role=APP_ROLE), broker)

    def text(self) -> bytes:
        return exposition(self._standing, ProcessCollector())

    async def admit(self, request: Request) -> None:
        """Let in who may ask. A token that was good minutes ago is good enough to be told that the database is away.

        Raises:
            HTTPException: 401 or 403.
            SQLAlchemyError: the database is away, and this token was not seen lately.
        """
        digest = digest_of(request.headers.get("authorization", ""))
        try:
            await admit(request, Scope.METRICS)
        except SQLAlchemyError:
            if time.monotonic() > self._trusted.get(digest, 0.0):
                raise
        else:
            self._trusted = {digest: time.monotonic() + TRUSTED_SECONDS}


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Figures in the text format of Prometheus."""
    watched: Watched = request.app.state.watched
    if "authorization" in request.headers or not is_from_here(request):
        await watched.admit(request)
    return Response(await run_in_threadpool(watched.text), headers={"Content-Type": CONTENT_TYPE})
