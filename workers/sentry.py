"""Sentry (the optional extra ``sentry``): which errors there are, and whether the jobs of beat still run.

An event is the error's type and code, the task, and where in the code it came up: no text, no values, no arguments (P12).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import sentry_sdk
import structlog
from celery import signals
from sentry_sdk.crons import capture_checkin
from sentry_sdk.utils import event_from_exception
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from models.schedule import BeatJob
from models.session import transaction
from sync.errors import WatertightError
from workers.app import UnexpectedError, runtime

CHECK_IN_SECONDS = 60.0  # of one job; its crons know no shorter period than a minute
PERIODS_LATE = 3
KEPT = ("event_id", "timestamp", "level", "platform", "release", "environment", "tags")
CHECK_IN = ("type", "check_in_id", "monitor_slug", "status", "duration", "monitor_config")
FRAME = ("filename", "function", "module", "lineno", "in_app")

log = structlog.get_logger(__name__)
_checked_in: dict[str, float] = {}
_began: dict[str, float] = {}


def start(dsn: str) -> None:
    """Tell Sentry of runs that gave up and of beat's jobs; nothing is read off the process by itself."""
    sentry_sdk.init(
        dsn,
        release=version("watertight"),
        default_integrations=False,
        auto_enabling_integrations=False,
        auto_session_tracking=False,
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
        send_default_pii=False,
        server_name="",
        shutdown_timeout=2,
        before_send=strip,
    )
    signals.task_failure.connect(_report, weak=False)
    signals.task_prerun.connect(_begin, weak=False)
    signals.task_postrun.connect(_check_in, weak=False)


def strip(event: Any, _hint: object) -> Any:  # noqa: ANN401 - Sentry's own type of an event
    """What may leave: see above."""
    if event.get("type") == "check_in":
        return {name: event[name] for name in (*KEPT, *CHECK_IN) if name in event}
    kept = {name: event[name] for name in KEPT if name in event}
    found = (event.get("exception") or {}).get("values") or []
    return kept | {"exception": {"values": [_stripped(one) for one in found]}}


def _stripped(error: dict[str, Any]) -> dict[str, Any]:
    frames = (error.get("stacktrace") or {}).get("frames") or []
    shown = [{name: frame[name] for name in FRAME if name in frame} for frame in frames]
    return {"type": error.get("type"), "module": error.get("module"), "stacktrace": {"frames": shown}}


def _report(*, sender: object = None, exception: BaseException | None = None, **_: object) -> None:
    """A run gave up. Of a bug, whose text we have taken out, the original tells where."""
    if exception is None:
        return
    origin = exception.__context__ if isinstance(exception, UnexpectedError) and exception.__context__ else exception
    with sentry_sdk.new_scope() as scope:
        code = exception.code if isinstance(exception, WatertightError) else "bug"
        scope.set_tags({"task": getattr(sender, "name", "unknown"), "code": code})
        event, hint = event_from_exception(origin, client_options=sentry_sdk.get_client().options)
        sentry_sdk.capture_event(event, hint=hint)


def _begin(*, task_id: str = "", **_: object) -> None:
    _began[task_id] = time.monotonic()


def _check_in(*, task_id: str = "", task: Any = None, state: str | None = None, **_: object) -> None:  # noqa: ANN401 - Celery's task
    """A job of beat has ended: at most once a minute, unless it failed."""
    now, began = time.monotonic(), _began.pop(task_id, None)
    due = now - _checked_in.get(task.name, -math.inf) >= CHECK_IN_SECONDS
    if state not in {"SUCCESS", "FAILURE"} or not (due or state == "FAILURE"):
        return
    for period in _period(task.name):
        _checked_in[task.name] = now
        minutes = max(1, math.ceil(period / 60))
        capture_checkin(
            monitor_slug=task.name.lower(),
            status="ok" if state == "SUCCESS" else "error",
            duration=now - began if began is not None else None,
            monitor_config={
                "schedule": {"type": "interval", "value": minutes, "unit": "minute"},
                "checkin_margin": PERIODS_LATE * minutes,
            },
        )


def _period(name: str) -> Iterator[float]:
    """In seconds, as it is set now; none for what beat does not run, and while the database is away."""
    try:
        with transaction(runtime().sessions) as session:
            found = session.scalar(select(BeatJob.every_seconds).where(BeatJob.name == name, BeatJob.enabled))
    except SQLAlchemyError as error:
        log.warning("sentry.no_check_in", job=name, error=type(error).__name__)
        return
    if found is not None:
        yield found
