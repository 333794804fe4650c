"""``/metrics``: what stands in database and broker when somebody asks, and what the processes of this machine have counted.

Counts of processes are files (``prometheus_client``'s multiprocess mode), so one scrape of the web process shows every
worker beside it. A file belongs to a worker and a place in its pool, not to a process number: a replaced child goes on in
its predecessor's file, so there are never more of them than places, and counters never fall.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from billiard.process import current_process
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server, values
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from providers.observed import Call

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
OURS = "watertight_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
TASK_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_MAIN = os.getpid()  # of the process that loaded this: a pool's children are forked from it


def _place() -> str:
    """The worker and the place in its pool; of two processes that live at once no two have the same."""
    index = getattr(current_process(), "index", None)
    if os.getpid() == _MAIN:
        return str(_MAIN)
    return f"{_MAIN}-{os.getpid() if index is None else index}"


if os.environ.get(DIRECTORY):
    values.ValueClass = values.MultiProcessValue(_place)

requests_total = Counter(
    "watertight_vendor_requests",
    "Requests sent to vendors, by route template and HTTP status (none: no answer came).",
    ("vendor", "method", "route", "status"),
)
request_seconds = Histogram(
    "watertight_vendor_request_seconds",
    "Time that vendors took to answer in full.",
    ("vendor",),
    buckets=CALL_SECONDS,
)
limited_total = Counter("watertight_vendor_limited", "Answers by which a vendor asked to wait.", ("vendor",))
parked_seconds_total = Counter(
    "watertight_vendor_parked_seconds", "Time for which vendors asked accounts to wait.", ("vendor",)
)
turned_away_total = Counter(
    "watertight_vendor_turned_away",
    "Requests that our own limiter did not send: the account was parked, or its limit full.",
    ("vendor", "reason"),
)
tasks_total = Counter("watertight_tasks", "Task runs that ended, by how.", ("task", "state"))
task_seconds = Histogram("watertight_task_seconds", "Time that task runs took.", ("task",), buckets=TASK_SECONDS)


class Counting:
    """A ``providers.observed.Listener``."""

    def ended(self, call: Call) -> None:
        requests_total.labels(call.vendor, call.method, call.route, call.status).inc()
        request_seconds.labels(call.vendor).observe(call.seconds)

    def parked(self, vendor: str, *, seconds: float) -> None:
        limited_total.labels(vendor).inc()
        parked_seconds_total.labels(vendor).inc(seconds)

    def turned_away(self, vendor: str, *, reason: str) -> None:
        turned_away_total.labels(vendor, reason).inc()


def count_task(task: str, *, state: str, seconds: float) -> None:
    """One more run of a task of ours has ended."""
    tasks_total.labels(task, state.lower()).inc()
    task_seconds.labels(task).observe(seconds)


class ProcessCollector(Collector):
    """What processes have counted: all those that share the directory, or this one alone where there is none."""

    def collect(self) -> Iterator[object]:  # type: ignore[override]
        if directory := os.environ.get(DIRECTORY):
            found = MultiProcessCollector(None, directory).collect()
            yield from (metric for metric in found if metric.name.startswith(OURS))
            return
        own = (requests_total, request_seconds, limited_total, parked_seconds_total, turned_away_total)
        for metric in (*own, tasks_total, task_seconds):
            yield from metric.collect()


def exposition(*collectors: Collector) -> bytes:
    """The text that a monitoring system reads."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)


def serve_own(host: str, port: int) -> None:
    """Serve what this worker and its children have counted, for a worker that stands alone (in a container, say).

    Raises:
        OSError: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(ProcessCollector())
    start_http_server(port, addr=host, registry=registry)
