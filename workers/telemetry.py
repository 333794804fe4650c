"""What watches a process, wired: its own counts, traces and errors. Each worker loads this (``include`` in celeryconfig).

Only what is set is loaded: without an address neither OpenTelemetry nor Sentry is imported.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog
from celery import signals

from providers.observed import listen
from workers.app import settings
from workers.settings import Settings

METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
METRICS_FOLDER = "metrics"
STANDARD_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

log = structlog.get_logger(__name__)
_started: dict[str, float] = {}  # task id: when; a pool of threads has several at once


def empty_metrics(state_dir: Path) -> Path:
    """A new directory for what the processes of a stack count; what an earlier one counted is gone."""
    directory = state_dir.resolve() / METRICS_FOLDER
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def start(settings: Settings) -> None:
    """Begin to watch this process; its children, forked later, go on."""
    if settings.metrics_port and not os.environ.get(METRICS_DIRECTORY):
        # Alone, say in a container: its children still have to be counted. Set before the library is first loaded, and
        # not in the state directory, which several containers may share.
        own = tempfile.mkdtemp(prefix="watertight-metrics-")
        os.environ[METRICS_DIRECTORY] = own
        signals.worker_shutdown.connect(lambda **_: shutil.rmtree(own, ignore_errors=True), weak=False)
    from workers.metrics import Counting  # noqa: PLC0415 - see above

    listen(Counting())
    if is_traced(settings):
        _trace(settings)
    if settings.sentry_dsn is not None:
        _report(settings.sentry_dsn.get_secret_value())


def is_traced(settings: Settings) -> bool:
    return bool(settings.otlp_endpoint or any(os.environ.get(name) for name in STANDARD_ENDPOINTS))


def _trace(settings: Settings) -> None:
    try:
        from workers import tracing  # noqa: PLC0415 - an optional extra
    except ImportError:
        log.warning("tracing.not_installed", extra="tracing")
    else:
        tracing.start(settings.otlp_endpoint)


def _report(dsn: str) -> None:
    try:
        from workers import sentry  # noqa: PLC0415 - an optional extra
    except ImportError:
        log.warning("sentry.not_installed", extra="sentry")
    else:
        sentry.start(dsn)


@signals.celeryd_init.connect
def _start_worker(**_: object) -> None:
    start(settings())


@signals.worker_ready.connect
def _serve_metrics(**_: object) -> None:
    """In the main process: one address for all its children. A worker that cannot be watched works all the same."""
    if port := settings().metrics_port:
        from workers.metrics import serve_own  # noqa: PLC0415 - see start

        try:
            serve_own(settings().metrics_host, port)
        except OSError as error:
            log.error("metrics.not_served", port=port, error=error.strerror)  # noqa: TRY400 - no traceback needed


@signals.task_prerun.connect
def _begin(*, task_id: str = "", **_: object) -> None:
    _started[task_id] = time.monotonic()


@signals.task_postrun.connect
def _end(*, task_id: str = "", task: Any = None, state: str | None = None, **_: object) -> None:  # noqa: ANN401 - Celery's task
    from workers.metrics import count_task  # noqa: PLC0415 - see start

    started = _started.pop(task_id, None)
    if started is not None:
        count_task(task.name, state=state or "unknown", seconds=time.monotonic() - started)
