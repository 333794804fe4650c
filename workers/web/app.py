"""The HTTP application: its parts, and whether it is healthy (design §7)."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

from fastapi import FastAPI, HTTPException
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models.session import transaction
from workers import observability, watch
from workers.app import runtime, settings
from workers.walls import forbid_engine, reporter
from workers.web import availability, booking, forms, guards, nudges, problems, proposals, waiting, webhooks
from workers.web.console import pages as console
from workers.web.loopback import require_loopback


def serve() -> FastAPI:
    """What the web server runs: the application, and its logs like everybody else's.

    Raises:
        SettingsError: the API is to be open, and this process is not on loopback alone.
    """
    require_loopback(settings(), arguments=sys.argv[1:], env=os.environ)
    observability.configure(settings().log_level)
    forbid_engine(reporter(runtime().sessions))
    watch.start_watch()
    forms.connected()  # says now, not at the first submission, which mapping files are wrong
    return create_app()


def create_app() -> FastAPI:
    """The application for this process's settings; connects at the first request."""
    app = FastAPI(title="watertight", version=version("watertight"), docs_url=None, redoc_url=None)
    app.state.watcher = waiting.install()
    app.state.nudges = nudges.Nudges()
    app.state.tray = webhooks.install()
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
