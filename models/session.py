"""Engines and transactions. ``transaction`` is the one place that commits."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from contextvars import ContextVar
from datetime import datetime

from sqlalchemy import Engine, create_engine, func, select, text
from sqlalchemy.orm import Session, sessionmaker

Sessions = sessionmaker[Session]

LOCK_SECONDS = 5
STATEMENT_SECONDS = 30
# For changes of rows that the session has not loaded: there is nothing in memory that must follow.
UNSEEN = {"synchronize_session": False}
AGENT_LOCK_SPACE = 7_001
CALENDAR_LOCK_SPACE = 7_003

# Statements that every decision and every read sends are built once, when their module is loaded: to put one together
# takes longer than to send it.
_NOW = select(func.clock_timestamp())
_LOCK = text("SELECT pg_advisory_xact_lock(:space, :number)")
_LOCK_AGENT = text(
    "SELECT pg_advisory_xact_lock(:space, :agent), set_config('watertight.cause', :cause, true),"
    " set_config('watertight.actor', :actor, true)"
)

_inside: ContextVar[bool] = ContextVar("inside_transaction", default=False)


def make_engine(url: str, *, role: str | None = None, pool_size: int = 5) -> Engine:
    """An engine whose sessions run in UTC with bounded waits; with ``role``, every connection drops to that role first.

    Nothing connects until first use, so an engine may be made before a fork (but not used).
    """
    settings = [
        "-c timezone=UTC",
        f"-c lock_timeout={LOCK_SECONDS}s",
        f"-c statement_timeout={STATEMENT_SECONDS}s",
        "-c idle_in_transaction_session_timeout=60s",
    ]
    if role is not None:
        settings.append(f"-c role={role}")
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text must not quote what people typed (P12)
        pool_recycle=1800,
        connect_args={"options": " ".join(settings), "connect_timeout": 5, "application_name": role or "watertight"},
    )


def make_sessions(engine: Engine) -> Sessions:
    return sessionmaker(engine, expire_on_commit=False)


@contextlib.contextmanager
def transaction(sessions: Sessions) -> Iterator[Session]:
    """Commit if the block ends well, roll back otherwise. No network call to a vendor may happen inside."""
    with sessions() as session, session.begin():
        token = _inside.set(True)
        try:
            yield session
        finally:
            _inside.reset(token)


@contextlib.contextmanager
def single_statement(sessions: Sessions) -> Iterator[Session]:
    """``transaction`` for one statement, which is one by itself: the server is not asked to begin and to commit it."""
    with transaction(sessions) as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        yield session


def refuse_inside_transaction() -> None:
    """The transport's guard: a vendor's latency must never hold a database transaction open (house style, habit 15).

    Raises:
        RuntimeError: called inside ``transaction``.
    """
    if _inside.get():
        message = "a vendor request inside a database transaction"
        raise RuntimeError(message)


def database_now(session: Session) -> datetime:
    """The database's clock: the only one that leases and due times are compared with."""
    now: datetime = session.execute(_NOW).scalar_one()
    return now


def lock_agents(session: Session, agent_ids: Collection[int], *, cause: str, actor: str) -> None:
    """Serialize decisions about these agents until this transaction ends, and say why and for whom it changes their time.

    Without the lock, contenders for one slot pile up behind the exclusion constraint and deadlock: docs/adr/0004. The
    database refuses a change of slots and appointments that names no ``cause`` (``proposal:7``) and ``actor`` (which kind
    of system asked): whoever forgets the lock is found out. Several agents are locked in one order, so that no two wait
    for each other.
    """
    for agent_id in sorted(set(agent_ids)):
        told = {"space": AGENT_LOCK_SPACE, "agent": agent_id, "cause": cause, "actor": actor}
        session.execute(_LOCK_AGENT, told)


def lock_calendar(session: Session, calendar_id: int) -> None:
    """Serialize those who store sightings of one calendar, so that two never insert the same one.

    Whoever needs the agent's lock too takes that one first.
    """
    session.execute(_LOCK, {"space": CALENDAR_LOCK_SPACE, "number": calendar_id})
