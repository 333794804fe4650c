"""How things stand when a monitoring system asks: database, broker, and the figures of ``models.gauges``.

Correct however many processes there are, since nothing is counted here. A server that does not answer costs a bounded time
and is a figure itself.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

import structlog
from kombu.connection import Connection
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from celeryconfig import task_queues
from models.gauges import BOUNDS, DECIDED, GAUGES, REFLECTED, Chronicle, Reading, Tally, bound_statements, read_gauges
from models.session import make_sessions, transaction
from workers.queues import lengths

PATIENCE_SECONDS = 4.0
SOCKET_SECONDS = 2

Found = TypeVar("Found")

log = structlog.get_logger(__name__)


def connect(url: str, *, role: str) -> Engine:
    """An engine that holds no connection in between: one that was cut is not found out at a scrape."""
    patience = {
        "connect_timeout": SOCKET_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
    }
    options = f"-c timezone=UTC -c role={role}"
    told = {"options": options, "application_name": "watertight_metrics", **patience}
    return create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=told)


class Patient(Generic[Found]):
    """Asks in a thread of its own and waits for so long; while a question hangs, no other is put.

    Whoever asks beside another waits for the other's answer first.
    """

    def __init__(self, ask: Callable[[], Found | None], *, seconds: float = PATIENCE_SECONDS) -> None:
        self._ask = ask
        self._seconds = seconds
        self._turn = threading.Lock()
        self._hanging: threading.Thread | None = None

    def answer(self) -> Found | None:
        """None where there was no answer in time, or it failed."""
        with self._turn:
            if self._hanging is not None and self._hanging.is_alive():
                return None
            found: list[Found | None] = []
            self._hanging = threading.Thread(target=lambda: found.append(self._ask()), daemon=True, name="scrape")
            self._hanging.start()
            self._hanging.join(self._seconds)
            return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database said. ``histories`` is None where counting took too long."""

    gauges: list[Reading]
    histories: tuple[Tally, Tally] | None


class StandingCollector(Collector):
    """For one scrape after the other; keeps what is final of the past."""

    def __init__(self, engine: Engine, connection: Callable[[], Connection]) -> None:
        self.engine = engine
        self._sessions = make_sessions(engine)
        self._connection = connection
        self._decided, self._reflected = Chronicle(DECIDED), Chronicle(REFLECTED)
        self._database = Patient(self._read)
        self._broker = Patient(self._count_messages)

    def collect(self) -> Iterator[Metric]:
        standing, messages = self._database.answer(), self._broker.answer()
        yield _single("watertight_database_up", "Whether the database answers in time.", standing is not None)
        yield _single("watertight_broker_up", "Whether the broker answers in time.", messages is not None)
        if messages is not None:
            depth = GaugeMetricFamily(
                "watertight_queue_messages", "Messages that no worker has taken yet.", labels=["queue"]
            )
            for queue, count in messages.items():
                depth.add_metric([queue], count)
            yield depth
        if standing is not None:
            complete = standing.histories is not None
            yield _single("watertight_scrape_complete", "Whether the past could be counted in time.", complete)
            yield from _gauges(standing.gauges)
            yield from _histories(*standing.histories) if standing.histories is not None else ()

    def describe(self) -> Iterator[Metric]:
        """Nothing is asked at registration."""
        return iter(())

    def _read(self) -> Standing | None:
        try:
            with transaction(self._sessions) as session:
                bound_statements(session)
                gauges = read_gauges(session)
        except SQLAlchemyError as error:
            log.warning("metrics.database_away", error=type(error).__name__)
            return None
        return Standing(gauges, self._count_past())

    def _count_past(self) -> tuple[Tally, Tally] | None:
        try:
            with transaction(self._sessions) as session:
                bound_statements(session)
                return self._decided.read(session), self._reflected.read(session)
        except SQLAlchemyError as error:
            log.warning("metrics.past_not_counted", error=type(error).__name__)
            return None

    def _count_messages(self) -> dict[str, int] | None:
        return lengths(self._connection(), task_queues, seconds=SOCKET_SECONDS)


def _single(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _gauges(readings: list[Reading]) -> Iterator[Metric]:
    for gauge in GAUGES:
        family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
        for reading in readings:
            if reading.name == gauge.name:
                family.add_metric(reading.labels, reading.value)
        yield family


def _histories(decided: Tally, reflected: Tally) -> Iterator[Metric]:
    decisions = CounterMetricFamily(
        "watertight_decisions", "Proposals decided, by kind and reason.", labels=["kind", "reason"]
    )
    totals: Counter[tuple[str, str]] = Counter()
    for (kind, reason, _), count in decided.counts.items():
        totals[kind, reason] += count
    for labels, count in totals.items():
        decisions.add_metric(labels, count)
    yield decisions
    yield _histogram("watertight_decide_seconds", "From a proposal to its decision.", "kind", decided)
    yield _histogram("watertight_reflect_seconds", "From a decision until a calendar shows it.", "provider", reflected)


def _histogram(name: str, text: str, label: str, tally: Tally) -> Metric:
    family = HistogramMetricFamily(name, text, labels=[label])
    for value in sorted({first for first, _, _ in tally.counts}):
        counts = [0] * (len(BOUNDS) + 1)
        for (first, _, bucket), count in tally.counts.items():
            if first == value:
                counts[bucket] += count
        seconds = sum(spent for (first, _), spent in tally.seconds.items() if first == value)
        names = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
        family.add_metric([value], list(zip(names, accumulate(counts), strict=True)), sum_value=float(seconds))
    return family
