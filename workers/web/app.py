"""The HTTP application: its parts, and whether it is healthy (design §7)."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from importlib.metadata import version

from fastapi import FastAPI, HTTPException
from fastapi.telemetry import TelemetryConfig
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models.session import transaction
from workers import observability, telemetry, watch
from workers.app import runtime, settings
from workers.walls import forbid_engine, reporter
from workers.web import availability, booking, forms, guards, metrics, nudges, problems, proposals, waiting, webhooks
from workers.web.console import pages as console
from workers.web.loopback import require_loopback

# FastAPI's own would take part in the traces of strangers, and record texts of errors and addresses (P12): workers.tracing.
NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def serve() -> FastAPI:
    """What the web server runs: the application, and its logs like everybody else's.

    Raises:
        SettingsError: the API is to be open, and this process is not on loopback alone.
    """
    require_loopback(settings(), arguments=sys.argv[1:], env=os.environ)
    observability.configure(settings().log_level)
    telemetry.start(settings())
    forbid_engine(reporter(runtime().sessions))
    watch.start_watch()
    forms.connected()  # says now, not at the first submission, which mapping files are wrong
    app = create_app()
    if telemetry.is_traced(settings()):
        _trace(app)
    gc.collect()
    gc.freeze()  # what is loaded by now stays: to look at all of it now and then held up one answer in a hundred for 90 ms
    return app


def _trace(app: FastAPI) -> None:
    """Let a trace begin at the door."""
    with contextlib.suppress(ImportError):  # an optional extra; the log has said by now that it is missing
        from workers.tracing import TracedRequests  # noqa: PLC0415

        app.add_middleware(TracedRequests)


def create_app() -> FastAPI:
    """The application for this process's settings; connects at the first request."""
    app = FastAPI(
        title="watertight", version=version("watertight"), docs_url=None, redoc_url=None, telemetry=NO_TELEMETRY
    )
    app.state.watcher = waiting.install()
    app.state.nudges = nudges.Nudges()
    app.state.tray = webhooks.install()
    app.state.watched = metrics.Watched()
    app.add_middleware(guards.BodyLimit)
    app.add_middleware(guards.SecurityHeaders, public_url=settings().public_url)
    problems.install(app)
    app.get("/healthz")(healthz)
    app.get("/readyz", responses=problems.documented(503))(readyz)
    for router in (availability.router, proposals.reading, proposals.booking, proposals.changing):
        app.include_router(router)
    app.include_router(booking.router)
    app.include_router(forms.router)
    app.include_router(webhooks.router)
    app.include_router(metrics.router)
    app.include_router(console.router)
    return app


def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


def readyz() -> dict[str, str]:
    """The database answers too."""
    try:
        with transaction(runtime().sessions) as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        raise HTTPException(503, "the database does not answer") from None
    return {"status": "ready"}
