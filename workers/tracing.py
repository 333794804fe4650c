"""Traces (the optional extra ``tracing``): one from a push or a request through the job and Commit to the vendors.

What leaves the process is cut down to a list of attributes: names of routes, tasks and vendors, ids and statuses. URLs of
vendors hold addresses, and the text of an error may quote anything (P12). That of SQLAlchemy is a few lines of our own,
since the library for it fits none of the others' versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from celery import signals
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.propagate import inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status
from sqlalchemy import Engine, event
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from providers.observed import find_current
from workers.observability import ids_of

SERVICE = "watertight"
QUIET_PATHS = ("/healthz", "/readyz", "/metrics", "/static")
KEPT = frozenset(
    {
        "celery.action",
        "celery.state",
        "celery.task_name",
        "db.operation.name",
        "db.system.name",
        "error.type",
        "exception.type",
        "http.method",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "http.status_code",
        "messaging.message.id",
        "url.template",
        "watertight.calendar_id",
        "watertight.job",
        "watertight.proposal_id",
        "watertight.reference",
        "watertight.vendor",
    }
)

_tracer = trace.get_tracer(SERVICE)


class _Statement(Protocol):
    """A statement under way, as SQLAlchemy hands it from its beginning to its end."""

    watertight_span: Span


class Redacting(SpanExporter):
    """Passes on what is on the list, and nothing else."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_redacted(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _kept(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (attributes or {}).items() if name in KEPT}


def _redacted(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_kept(span.attributes),
        events=[Event(one.name, _kept(one.attributes), one.timestamp) for one in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def start(endpoint: str) -> None:
    """Send this process's traces to ``endpoint``, or where the standard variables say."""
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces") if endpoint else OTLPSpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(Redacting(exporter)))
    trace.set_tracer_provider(provider)
    _trace_tasks()
    RequestsInstrumentor().instrument(request_hook=_name_request)
    event.listen(Engine, "before_cursor_execute", _before_statement)
    event.listen(Engine, "after_cursor_execute", _after_statement)
    event.listen(Engine, "handle_error", _failed_statement)
    signals.worker_process_shutdown.connect(lambda **_: provider.force_flush(5_000), weak=False)


def _trace_tasks() -> None:
    """The library's spans of runs, without its spans of sending.

    It never ends those for a task that this process does not know by name (Commit, everywhere but in its own worker), and
    then the next task of the thread would seem to be part of that trace.
    """
    tasks = CeleryInstrumentor()
    tasks.instrument()
    signals.before_task_publish.disconnect(tasks._trace_before_publish)  # noqa: SLF001
    signals.after_task_publish.disconnect(tasks._trace_after_publish)  # noqa: SLF001
    signals.before_task_publish.connect(_carry, weak=False)
    signals.task_prerun.connect(_name_run, weak=False)


def _carry(*, headers: dict[str, Any] | None = None, **_: object) -> None:
    """Let the message say of which trace it is."""
    if headers is not None:
        inject(headers)


def _name_run(*, task: Any = None, args: Sequence[object] = (), **_: object) -> None:  # noqa: ANN401 - Celery's task
    ids = {f"watertight.{name}": value for name, value in ids_of(task.name, args).items()}
    trace.get_current_span().set_attributes(ids)


def _name_request(span: Span, _request: object) -> None:
    """By the route's template; a request outside of a transport (for a token) keeps its method as its name."""
    call = find_current()
    if call is not None:
        span.update_name(f"{call.method} {call.route}")
        span.set_attributes({"url.template": call.route, "watertight.vendor": call.vendor})


def _before_statement(
    _connection: object,
    _cursor: object,
    statement: str,
    _values: object,
    context: _Statement | None,
    _many: object,
) -> None:
    """Within a trace only: what nobody asked about begins none."""
    if context is not None and trace.get_current_span().is_recording():
        operation = statement.split(maxsplit=1)[0].upper()[:20]
        told = {"db.system.name": "postgresql", "db.operation.name": operation}
        context.watertight_span = _tracer.start_span(f"db {operation}", kind=SpanKind.CLIENT, attributes=told)


def _after_statement(
    _connection: object,
    _cursor: object,
    _statement: str,
    _values: object,
    context: _Statement | None,
    _many: object,
) -> None:
    _end(context)


def _failed_statement(failure: Any) -> None:  # noqa: ANN401 - sqlalchemy.engine.ExceptionContext
    _end(failure.execution_context)


def _end(context: object) -> None:
    span = getattr(context, "watertight_span", None)
    if span is not None:
        span.end()


class TracedRequests:
    """A trace for each request to us. Nobody outside decides of which trace it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(QUIET_PATHS):
            await self._app(scope, receive, send)
            return
        with _tracer.start_as_current_span(scope["method"], kind=SpanKind.SERVER) as span:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, answer)
            finally:
                route = getattr(scope.get("route"), "path", "")
                span.update_name(f"{scope['method']} {route}".strip())
                span.set_attributes({"http.request.method": scope["method"], "http.route": route})
