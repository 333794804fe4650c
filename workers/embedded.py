"""PostgreSQL 18 and Valkey 9 from wheels, as child processes under one state directory (design §8).

What a killed run left behind is recognised by program name and working directory, which no stranger shares, and is
stopped before a new server opens the same files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from workers.embedded_postgres import APP, COMMIT, OWNER, EmbeddedPostgres
from workers.embedded_valkey import EmbeddedValkey
from workers.servers import EmbeddedError, StateLock, explained

__all__ = ["Embedded", "EmbeddedError", "EmbeddedPostgres", "EmbeddedValkey", "Stack", "StateLock", "explained"]


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the running servers are, as SQLAlchemy and Celery URLs."""

    owner_url: str
    database_url: str
    commit_database_url: str
    broker_url: str = field(repr=False)  # carries the password


class Embedded:
    """The servers that are not given by URL, under one state directory. As a context manager it gives the ``Stack``."""

    def __init__(
        self, state_dir: Path, *, port: int | None = None, given: Stack | None = None, broker_url: str | None = None
    ) -> None:
        self.postgres = EmbeddedPostgres(state_dir)
        self.valkey = EmbeddedValkey(state_dir, port=port)
        self._given = given
        self._broker_url = broker_url
        self._lock = StateLock(state_dir.resolve())

    def start(self) -> Stack:
        """Both answer afterwards, with all data of earlier runs. Calling it again revives one that has crashed.

        Raises: EmbeddedError, and then neither runs.
        """
        self._lock.acquire()
        try:
            if self._given is None:
                self.postgres.start()
            if self._broker_url is None:
                self.valkey.start()
        except BaseException:
            self.stop()
            raise
        return self._stack()

    def pids(self) -> dict[str, int]:
        """The servers of ours that run."""
        found = {"postgres": self.postgres.pid, "valkey": self.valkey.pid}
        return {name: pid for name, pid in found.items() if pid is not None}

    def _stack(self) -> Stack:
        broker_url = self._broker_url or self.valkey.url()
        if self._given is not None:
            return replace(self._given, broker_url=broker_url)
        owner, app, commit = map(self.postgres.url, (OWNER, APP, COMMIT))
        return Stack(owner_url=owner, database_url=app, commit_database_url=commit, broker_url=broker_url)

    def stop(self) -> None:
        """Both have ended afterwards, cleanly if they could."""
        try:
            self.valkey.stop()
        finally:
            self.postgres.stop()
            self._lock.release()

    def __enter__(self) -> Stack:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
