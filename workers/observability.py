"""Logs: one line an event, keys not prose, JSON unless a person reads along. Ids only, never names or tokens (P12)."""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType

import structlog

from sync.errors import WatertightError

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

QUIET = (
    "urllib3",
    "requests",
    "msal",
    "google",
    "tornado.access",
    "amqp",
    "kombu",
    "celery.worker.strategy",
)


def configure(level: str = "INFO") -> None:
    """Send structlog's and the standard library's records to stderr in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(without_foreign_text),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error"):  # brings handlers of its own
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # says whom it tells, and how (P12)
    # Celery would log the text of any exception; ours is said by workers.app without it (P12).
    logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL)


def without_foreign_text(exc_info: ExcInfo) -> str:
    """The traceback with types only: the text of an error that is not ours may quote a row, a request or a URL (P12)."""
    error: BaseException | None = exc_info[1]
    parts: list[str] = []
    while error is not None:
        text = f": {error}" if isinstance(error, WatertightError) else ""
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"{frames}{type(error).__module__}.{type(error).__qualname__}{text}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nafter:\n".join(parts)
