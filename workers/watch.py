"""The watch: looks for what is wrong, tells people, and needs neither beat nor broker.

It is a thread in the main process of every worker with a thread pool and of the web process; an advisory lock of the database
makes one of them do the work. A prefork worker has none: its children are forked from the main process at any moment, and a
thread that holds a lock then would leave it locked in them for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog
from celery import signals
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from models.session import Sessions, transaction
from sync.failures import keep_alarms
from sync.telling import tell
from workers.alerts import deliver_due
from workers.app import is_database_away, runtime
from workers.checks import CHECKS, Check, Look, look_at_broker
from workers.outage import Outage, voice_for
from workers.over import close_over
from workers.places import Place
from workers.settings import Settings
from workers.wiring import rand

LOCK_SPACE, LOCK = 7_005, 1

log = structlog.get_logger(__name__)


class Watch:
    """One process's watch. ``outage`` is given to the one worker that speaks for a database that is away."""

    def __init__(
        self,
        sessions: Sessions,
        settings: Settings,
        *,
        outage: Outage | None = None,
        checks: Sequence[Check] = CHECKS,
    ) -> None:
        self._sessions = sessions
        self._settings = settings
        self._outage = outage
        self._checks = checks
        self._since = datetime.now(UTC)
        self._leading: Connection | None = None
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(work,), name=f"watch-{work.__name__}", daemon=True)
            for work in (self.look, self.deliver)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends within a look, and gives the lock to whoever is next."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._let_go()

    def look(self) -> None:
        """Look for what is wrong, and queue what people must be told; only where this process has the lock."""
        try:
            if self._leads():
                self._check_all()
            self._hear(away=False)
        except SQLAlchemyError as error:
            self._let_go()
            log.warning("watch.database", error=type(error).__name__)
            if is_database_away(error):  # any other error neither begins nor ends an outage
                self._since = datetime.now(UTC)
                self._hear(away=True)

    def deliver(self) -> None:
        """Send what is queued; of many processes each takes what no other has in hand."""
        if self._leading is None:
            return
        places = [Place(url) for url in self._settings.alert_places()]
        try:
            deliver_due(self._sessions, places, rand=rand)
        except SQLAlchemyError as error:
            log.warning("watch.database", error=type(error).__name__)

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._stopping.wait(self._settings.watch_seconds):
            try:
                work()
            except Exception:  # a watch that ended would be missed by nobody
                log.exception("watch.failed", work=work.__name__)

    def _leads(self) -> bool:
        """Whether this process has the lock, which it keeps for as long as its connection lives."""
        if self._leading is not None:
            self._leading.execute(text("SELECT 1"))
            return True
        engine = self._sessions.kw["bind"]
        connection = _connect(engine)
        if connection.scalar(text("SELECT pg_try_advisory_lock(:space, :lock)"), {"space": LOCK_SPACE, "lock": LOCK}):
            self._leading = connection
            log.info("watch.leads")
            return True
        connection.close()
        return False

    def _let_go(self) -> None:
        """The connection is given up, not back: with it goes the lock."""
        if self._leading is not None:
            self._leading.invalidate()
            self._leading.close()
            self._leading = None

    def _check_all(self) -> None:
        broker = look_at_broker(self._settings)
        if broker is not None and broker.waiting is None:
            self._since = datetime.now(UTC)
        look = Look(self._settings, self._since, broker)
        for check in self._checks:
            self._check(check, look)
        with transaction(self._sessions) as session:
            close_over(session)
        with transaction(self._sessions) as session:
            tell(session, runbook=self._settings.runbook_url)

    def _check(self, check: Check, look: Look) -> None:
        """A check with a bug in it must not blind the others."""
        try:
            with transaction(self._sessions) as session:
                alarms = check.find(session, look)
                for prefix in check.prefixes:
                    keep_alarms(session, prefix, [one for one in alarms if one.cause.startswith(prefix)])
        except SQLAlchemyError:
            raise
        except Exception:
            log.exception("watch.check_failed", check=check.prefixes[0])

    def _hear(self, *, away: bool) -> None:
        if self._outage is not None:
            self._outage.hear(away=away, at=time.monotonic())


def _connect(engine: Engine) -> Connection:
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


@signals.worker_ready.connect
def _watch_in_worker(*, sender: object = None, **_: object) -> None:
    if not forks(getattr(sender, "pool", None)):
        queues = getattr(getattr(getattr(sender, "app", None), "amqp", None), "queues", None)
        start_watch(speaks="upkeep" in getattr(queues, "consume_from", ()))


def forks(pool: object) -> bool:
    """Whether this worker makes its processes by forking the one that would watch."""
    return "prefork" in type(pool).__module__


def start_watch(*, speaks: bool = False) -> Watch | None:
    """Watch from now on, unless the settings say that this process does not; with ``speaks`` also over the database."""
    connected = runtime()
    if connected.settings.watch_seconds == 0:
        return None
    outage = Outage(connected.settings, voice_for(connected.settings)) if speaks else None
    watch = Watch(connected.sessions, connected.settings, outage=outage)
    watch.start()
    return watch
