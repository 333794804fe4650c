"""The Celery application: ``celery -A workers.app worker -Q new -P threads``."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog
from celery import Celery, Task, signals
from celery.exceptions import NotRegistered, SoftTimeLimitExceeded, TaskPredicate
from kombu.exceptions import OperationalError as Unsent
from psycopg.errors import LockNotAvailable
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from models.session import make_sessions, transaction
from sync.errors import WatertightError
from sync.failures import code_of
from sync.schedule import note_run
from workers import observability
from workers.dead_letters import keep_failed_task
from workers.settings import Settings, SettingsError, load
from workers.walls import forbid_engine, reporter
from workers.wiring import Runtime, build, build_committing

HEARTBEATS = "heartbeats"
UNPRINTABLE = re.compile(r"[^A-Za-z0-9_.]")
LONGEST_NAME = 60
AWAY = ("08", "57P01", "57P02", "57P03")  # connection exceptions; shut down, crashed, not yet started

log = structlog.get_logger(__name__)


class UnexpectedError(Exception):
    """A bug, by the type of the original exception alone: its text may quote a row, and Flower and logs show it (P12)."""

    code = "bug"

    def __repr__(self) -> str:
        return f"{self.code}: {self}"


class WatertightTask(Task):
    """Lets our own errors and Celery's control flow pass, and takes the text out of everything else.

    A server that is away is nobody's bug: what every task works on stands in a table and is found there again, by
    ResumeCommits or by the next period. A dead letter would ask somebody to repeat what repeats itself, and the alert
    of a restart that took a second would stay open for ever.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Celery's own signature
        with observability.bound(self.name, args=args, task_id=self.request.id or ""):
            return self._attempt(*args, **kwargs)

    def _attempt(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Celery's own signature
        try:
            result = self.run(*args, **kwargs)
            _note_run(self.name, str(self.request.id or ""))
            return result  # noqa: TRY300 - whoever is away leaves by the end of this function
        except (WatertightError, TaskPredicate, SoftTimeLimitExceeded):
            raise
        except Exception as error:  # noqa: BLE001 - whatever else it is, it is a bug
            if is_database_away(error):
                log.warning("task.database_away", task=self.name)
                return "the database is away: left for later"
            if waited_too_long(error):
                log.warning("task.lock_waited", task=self.name)
                return "another worker holds the lock: left for later"
            if isinstance(error, Unsent):
                log.warning("task.broker_away", task=self.name)
                return "the broker is away: left for later"
            frames = traceback.extract_tb(error.__traceback__)
            where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-6:]]
            log.error("task.bug", task=self.name, error=type(error).__name__, where=where)  # noqa: TRY400 - no text
            raise UnexpectedError(type(error).__name__) from None


def _note_run(task: str, task_id: str) -> None:
    """Keep when a run that beat fired (``NAME@slot``) ended well: from that a dead beat or worker is noticed.

    The run was good whatever happens here; in a database that is away the next one notes it.
    """
    name, fired, _ = task_id.partition("@")
    if not fired:
        return
    try:
        with transaction(runtime().sessions) as session:
            note_run(session, name, task=task)
    except SQLAlchemyError as error:
        log.warning("task.run_not_noted", task=task, error=type(error).__name__)


def is_database_away(error: BaseException) -> bool:
    """Whether there was no connection, or it was cut; an answer of the server, say a lock waited for too long, is none.

    A refused connection comes without a SQLSTATE, as does one that broke; a server that shuts down names its reason.
    """
    if not isinstance(error, OperationalError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    return state is None or state.startswith(AWAY)


def waited_too_long(error: BaseException) -> bool:
    """Whether somebody else kept a lock for longer than we wait (on a slow machine, or in the hands of a killed worker).

    No lock outlives its transaction, and the server ends one that stands idle; so this passes, as a deadlock would not.
    """
    return isinstance(error, OperationalError) and isinstance(error.orig, LockNotAvailable)


app = Celery("watertight", task_cls=WatertightTask)
app.config_from_object("celeryconfig")


def _broker() -> dict[str, str]:
    try:
        return {"broker_url": load().broker()}
    except SettingsError as error:
        log.warning("broker.unknown", error=str(error))  # `celery --help` needs none
        return {}


app.add_defaults(_broker)  # asked when Celery first needs its configuration, so importing connects to nothing


@functools.cache
def settings() -> Settings:
    return load()


def runtime() -> Runtime:
    """This process's parts for everything but commits; made at first use, so after any fork."""
    return _runtime(os.getpid())


def committing_runtime() -> Runtime:
    """This process's parts for commits; asked for by ``workers.commit`` alone."""
    return _committing_runtime(os.getpid())


@functools.cache
def _runtime(_pid: int) -> Runtime:
    return build(settings())


@functools.cache
def _committing_runtime(_pid: int) -> Runtime:
    return build_committing(settings())


@signals.celeryd_init.connect
def _guard_engine(*, options: Mapping[str, Any] | None = None, **_: object) -> None:
    """Only a worker that was told to include the commit task may load its engine."""
    if "workers.commit" not in ((options or {}).get("include") or ()):
        forbid_engine(reporter(runtime().sessions))


@signals.beat_init.connect
def _guard_beat(**_: object) -> None:
    forbid_engine(reporter(runtime().sessions))


@signals.setup_logging.connect
def _set_up_logging(**_: object) -> None:
    observability.configure(settings().log_level)


@signals.worker_ready.connect
@signals.heartbeat_sent.connect
def _beat_heart(*, sender: object = None, **_: object) -> None:
    """A file whose age tells whether the worker's main loop lives: cheap, and needs neither broker nor database."""
    name = str(getattr(sender, "hostname", None) or getattr(getattr(sender, "eventer", None), "hostname", "worker"))
    touch_heartbeat(name.partition("@")[0])


def touch_heartbeat(name: str) -> None:
    """Say that the process called ``name`` is alive; a full disk is not worth dying of."""
    file = settings().state_dir / HEARTBEATS / name
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@signals.task_failure.connect
def _keep_failure(
    *,
    sender: object = None,
    task_id: str = "",
    exception: BaseException | None = None,
    args: Iterable[object] = (),
    **_: object,
) -> None:
    """A task gave up: one dead letter and one alert per cause (P11).

    Runs in the parent process when a child was killed, so it uses a connection of its own, and it never raises: the
    worker must not die of it.
    """
    error = exception or RuntimeError("no exception given")
    reference = ",".join(str(value) for value in args or ())
    task, code = getattr(sender, "name", "unknown"), code_of(error)
    attempts = getattr(getattr(sender, "request", None), "retries", 0) + 1
    log.error("task.failed", task=task, task_id=task_id, reference=reference, code=code, error=type(error).__name__)
    _keep(task, task_id=task_id, reference=reference, error=error, attempts=attempts)


@signals.task_unknown.connect
def _keep_unknown(*, name: str = "", id: str = "", **_: object) -> None:  # noqa: A002 - Celery's name
    """A message for a task that this worker does not have: of another version, or put there by hand. It is thrown away (P11)."""
    task = f"unknown: {UNPRINTABLE.sub('?', name)[:LONGEST_NAME]}"
    log.error("task.unknown", task=task, task_id=id)
    _keep(task, task_id=id, reference="", error=NotRegistered(), attempts=1)


def _keep(task: str, *, task_id: str, reference: str, error: BaseException, attempts: int) -> None:
    try:
        engine = create_engine(settings().database(), poolclass=NullPool, connect_args={"connect_timeout": 5})
        with transaction(make_sessions(engine)) as session:
            keep_failed_task(session, task, reference=reference, error=error, attempts=attempts)
    except Exception:  # whatever happens here, the failure above is in the log already
        log.exception("task.failure_not_kept", task=task, task_id=task_id)
