"""The seven drills: what breaks, what must be told, what people do about it, and how it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sync.domain import Interval
from tests.gameday.stage import Stage
from workers.people import Form

OUTAGE_SECONDS = 300.0
BACKLOG = 30  # wishes at once, more than the limit of a queue in this game
QUEUE_MESSAGES = 15
DANA = "dana@watertight.example"
FIRST_DAY = 45  # beyond the days that people ask for


@dataclass(frozen=True, slots=True)
class Drill:
    """``codes`` must be told while ``begin`` holds, which is for ``seconds`` at least; then ``end``, and ``commands`` by hand.

    ``commands`` are codes whose entry in the runbook says what to paste to have the work done at once.
    """

    name: str
    fault: str
    codes: tuple[str, ...]
    begin: Callable[[Stage], None]
    end: Callable[[Stage], None]
    seconds: float = 0.0
    replayed: tuple[str, ...] = ()


def list_drills(*, outage_seconds: float) -> tuple[Drill, ...]:
    """In the order in which they are played."""
    return (
        Drill(
            "beat",
            "the only beat is killed and not restarted",
            ("job_silent",),
            lambda stage: stage.hold("beat", by=signal.SIGKILL),
            lambda stage: stage.let_go("beat"),
        ),
        Drill(
            "broker",
            "Valkey is killed, and comes back empty",
            ("broker_away",),
            Stage.stop_broker,
            Stage.start_servers,
            seconds=45,
        ),
        Drill("database", "PostgreSQL is stopped", ("database_away",), Stage.stop_database, Stage.start_servers),
        Drill(
            "credential",
            "Outlook refuses our credential, then takes it again",
            ("credential_revoked",),
            _revoke,
            lambda stage: stage.heal("outlook"),
            seconds=60,
            replayed=("credential_revoked",),
        ),
        Drill(
            "vendor",
            "Outlook answers 503 to everything",
            ("provider_unavailable",),
            lambda stage: stage.arm("outlook", kind="unavailable"),
            lambda stage: stage.heal("outlook"),
            seconds=outage_seconds,
            replayed=("provider_unavailable",),
        ),
        Drill(
            "poison",
            "a booking kills the processes of its commit worker",
            ("bug",),
            _poison,
            lambda stage: stage.heal("outlook"),
            replayed=("bug",),
        ),
        Drill(
            "queue",
            f"the commit worker is stopped, {BACKLOG} people ask at once",
            ("queue_full",),
            _pile_up,
            lambda stage: stage.let_go("commit"),
        ),
    )


def _revoke(stage: Stage) -> None:
    """What was handed out is not taken any more, and nothing new is handed out."""
    stage.arm("outlook", kind="revoked_secret")
    stage.arm("outlook", kind="unauthorized", match="/users/")


def _poison(stage: Stage) -> None:
    """The vendor is slow for long enough to aim."""
    stage.arm("outlook", kind="latency", calendar=DANA, seconds=6)
    proposal = ask(stage, 0)
    assert proposal is not None
    assert stage.wait(lambda: stage.commits(proposal), seconds=60), "no worker took the booking"
    stage.kill_children("commit")


def _pile_up(stage: Stage) -> None:
    stage.hold("commit", by=signal.SIGTERM)
    for number in range(1, BACKLOG + 1):
        ask(stage, number)


def ask(stage: Stage, number: int) -> int | None:
    """One prospect wants an hour that nobody else asks for; the proposal's id."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=FIRST_DAY)
    start = day + timedelta(days=number // 20, minutes=60 * (number % 20))
    agent = ("dana", "ben", "asha")[number % 3]
    interval = Interval(start, start + timedelta(minutes=30))
    return Form(stage.run.web, stage.diary).ask(agent, interval, title=f"game day {number}", zone="UTC")
