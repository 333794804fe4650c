"""The API as partners use it: the web process with tokens, and beside it a commit engine that decides when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from models.session import make_engine, make_sessions, transaction
from sync.domain import Interval
from sync.tokens import PER_MINUTE, Scope, create_token
from tests.integration.served import Web, keys, migrated, serve
from tests.integration.world import World
from workers.embedded import EmbeddedPostgres


@dataclass
class Desk:
    """``token`` may do everything, as often as it likes."""

    web: Web
    world: World
    token: str = ""

    def make_token(self, *scopes: Scope, per_minute: int = PER_MINUTE) -> str:
        with transaction(self.world.app) as session:
            return create_token(session, f"token {next(keys)}", scopes=scopes or tuple(Scope), per_minute=per_minute)[1]

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = "",
        key: str | None = None,
        **headers: str,
    ) -> requests.Response:
        """Without ``token`` the desk's own; None sends none."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.token}"
        if method == "POST":
            sent["Idempotency-Key"] = key or f"key-{next(keys)}"
        return requests.request(method, f"{self.web.url}{path}", json=body, headers=sent, timeout=40)

    def propose(self, interval: Interval, *, query: str = "", **details: Any) -> requests.Response:  # noqa: ANN401 - JSON
        return self.ask("POST", f"/api/proposals{query}", wish(interval, title="Secret cellar"), **details)

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """A commit worker works meanwhile."""
        over = threading.Event()

        def work() -> None:
            while not over.wait(0.02):
                self.world.work(rounds=1)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield
        finally:
            over.set()
            worker.join()


def wish(interval: Interval, **more: object) -> dict[str, Any]:
    times = {"start": interval.start.isoformat(), "end": interval.end.isoformat()}
    return {"agent": "dana", **times, **more}


@contextmanager
def open_desk(postgres: EmbeddedPostgres, folder: Path, *, name: str, **settings: str) -> Iterator[Desk]:
    """Dana can be booked around the clock. ``settings`` are environment variables in full."""
    with migrated(postgres, name) as url:
        _empty(postgres.url().replace("/watertight?", f"/{name}?"))
        app = make_engine(url)
        commit = make_engine(postgres.url("watertight_commit").replace("/watertight?", f"/{name}?"))
        world = World(make_sessions(app), make_sessions(commit))
        world.add_agent("dana")
        with transaction(world.app) as session:
            session.execute(text("UPDATE agents SET zone = 'UTC', working_hours = :hours"), {"hours": HOURS})
        try:
            with serve(folder, database_url=url, **({"WATERTIGHT_API_OPEN": "false"} | settings)) as web:
                desk = Desk(web, world)
                desk.token = desk.make_token(per_minute=100_000)
                yield desk
        finally:
            app.dispose()
            commit.dispose()


HOURS = "{" + ", ".join(f'"{day}": ["00:00-24:00"]' for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")) + "}"


def _empty(owner_url: str) -> None:
    engine = create_engine(owner_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM agents"))
