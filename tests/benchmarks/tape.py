"""The floor of a decision: the same HTTP calls and the same SQL, with nothing around them.

A decision is taken down as it happens, call by call, and done again word for word against a copy of the database and
another emulator: the same requests through ``requests``, the same statements through psycopg.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import requests
from sqlalchemy import Connection, Engine, event

from sync.commit.engine import CommitEngine
from sync.domain import ProposalId


@dataclass(frozen=True)
class Call:
    """One HTTP request, as it was sent."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | str | None


@dataclass(frozen=True)
class Statement:
    """One SQL statement with its values, for psycopg."""

    text: str
    values: Any
    alone: bool  # a transaction by itself


@dataclass(frozen=True)
class End:
    """The end of a transaction."""


@dataclass
class Tape:
    """What was done, in order."""

    steps: list[Call | Statement | End] = field(default_factory=list)

    def count(self, kind: type) -> int:
        return sum(isinstance(step, kind) for step in self.steps)


@contextmanager
def taken_down(engine: Engine, tape: Tape) -> Iterator[None]:
    """Whatever passes this engine and this process's connections to vendors."""
    send = requests.Session.send

    def keep_call(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401
        call = Call(str(request.method), str(request.url), dict(request.headers), request.body)
        tape.steps.append(call)
        return send(session, request, **options)

    def keep_statement(connection: Connection, _cursor: object, statement: str, values: Any, *_: object) -> None:  # noqa: ANN401
        tape.steps.append(Statement(statement, values, alone=_is_alone(connection)))

    def keep_end(connection: Connection) -> None:
        if not _is_alone(connection):
            tape.steps.append(End())

    event.listen(engine, "before_cursor_execute", keep_statement)
    event.listen(engine, "commit", keep_end)
    requests.Session.send = keep_call  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        requests.Session.send = send  # type: ignore[method-assign]
        event.remove(engine, "before_cursor_execute", keep_statement)
        event.remove(engine, "commit", keep_end)


def _is_alone(connection: Connection) -> bool:
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def take_down(engine: CommitEngine, database: Engine, proposals: Sequence[ProposalId]) -> Tape:
    """Decide these, and keep how."""
    tape = Tape()
    with taken_down(database, tape):
        for proposal in proposals:
            engine.commit(f"proposal:{proposal}")
    return tape


@dataclass(frozen=True)
class Cost:
    """Of playing a tape, for the process that played it."""

    seconds: float
    cpu_seconds: float


def play(tape: Tape, *, database: str, old: str, new: str) -> Cost:
    """Do it all again, in a process of its own; calls to ``old`` go to ``new``."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:  # pragma: no cover - the child
        try:
            os.write(writing, json.dumps(_play(tape, database=database, old=old, new=new)).encode())
        except Exception:  # noqa: BLE001 - told, since nobody above this fork may see it
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        return Cost(*json.loads(answer.read()))


def _play(tape: Tape, *, database: str, old: str, new: str) -> tuple[float, float]:
    calls = [_moved(step, old, new) if isinstance(step, Call) else step for step in tape.steps]
    with psycopg.connect(database) as connection, requests.Session() as session:
        session.trust_env = False
        cursor = connection.cursor()
        started, used = time.perf_counter(), time.process_time()
        for step in calls:
            if isinstance(step, requests.PreparedRequest):
                session.send(step).json()
            elif isinstance(step, Statement):
                if connection.autocommit != step.alone:
                    connection.autocommit = step.alone
                cursor.execute(step.text, step.values)
                if cursor.description is not None:
                    cursor.fetchall()
            else:
                connection.commit()
        return time.perf_counter() - started, time.process_time() - used


def _moved(call: Call, old: str, new: str) -> requests.PreparedRequest:
    headers = {name: value for name, value in call.headers.items() if name.lower() != "content-length"}
    return requests.Request(call.method, call.url.replace(old, new), headers=headers, data=call.body).prepare()
