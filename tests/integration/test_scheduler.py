"""Beat over one table: every slot once, whatever number of beats runs (docs/adr/0006)."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from models.schedule import BeatFire, BeatJob
from models.session import Sessions, make_engine, make_sessions, transaction
from sync.schedule import EPOCH, next_slot
from workers.embedded import EmbeddedValkey
from workers.periods import default_periods
from workers.scheduler import fire_due, install_defaults
from workers.settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(new_every=0.2, cancel_every=0.3, update_every=60, resume_every=3600)
Row = dict[str, Any]


def jobs(sessions: Sessions) -> dict[str, Row]:
    with transaction(sessions) as session:
        rows = session.scalars(select(BeatJob)).all()
        return {row.name: {key: value for key, value in vars(row).items() if not key.startswith("_")} for row in rows}


def fires(sessions: Sessions, name: str) -> list[datetime]:
    with transaction(sessions) as session:
        return list(session.scalars(select(BeatFire.slot).where(BeatFire.name == name).order_by(BeatFire.slot)))


def change(sessions: Sessions, name: str, **values: object) -> None:
    with transaction(sessions) as session:
        session.execute(update(BeatJob).where(BeatJob.name == name).values(**values))


@given(
    now=st.datetimes(min_value=datetime(2021, 1, 1), max_value=datetime(2060, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    every=st.sampled_from([0.1, 0.25, 1.0, 7.0, 60.0, 120.0, 600.0, 3600.0, 86400.0]),
)
def test_slots_are_multiples_of_the_period_so_they_never_drift(now: datetime, every: float) -> None:
    slot = next_slot(now, every)
    period = timedelta(seconds=every)
    assert timedelta(0) < slot - now <= period
    assert (slot - EPOCH) % period == timedelta(0)
    assert next_slot(slot, every) == slot + period
    assert next_slot(slot - timedelta(microseconds=1), every) == slot


def test_defaults_are_installed_once_and_follow_the_settings(app_sessions: Sessions) -> None:
    install_defaults(app_sessions, SETTINGS)
    first = jobs(app_sessions)
    assert {name: row["every_seconds"] for name, row in first.items()} == default_periods(SETTINGS)
    install_defaults(app_sessions, SETTINGS)
    assert jobs(app_sessions) == first
    install_defaults(app_sessions, SETTINGS.model_copy(update={"update_every": 30.0}))
    assert jobs(app_sessions)["UpdateSync"]["every_seconds"] == 30


def test_what_an_operator_changed_survives_every_restart(app_sessions: Sessions) -> None:
    install_defaults(app_sessions, SETTINGS)
    change(app_sessions, "UpdateSync", every_seconds=5.0, changed_by="olga")
    change(app_sessions, "CancellationSync", enabled=False, changed_by="olga")
    install_defaults(app_sessions, SETTINGS.model_copy(update={"update_every": 30.0, "cancel_every": 9.0}))
    found = jobs(app_sessions)
    assert (found["UpdateSync"]["every_seconds"], found["UpdateSync"]["changed_by"]) == (5, "olga")
    assert (found["CancellationSync"]["every_seconds"], found["CancellationSync"]["enabled"]) == (0.3, False)


def test_slots_missed_while_no_beat_ran_count_as_one(app_sessions: Sessions) -> None:
    install_defaults(app_sessions, SETTINGS)
    now = datetime.now(UTC)
    missed = now - timedelta(hours=3)
    change(app_sessions, "UpdateSync", next_slot=missed, every_seconds=86_400.0)
    due = [one for one in fire_due(app_sessions) if one[0] == "UpdateSync"]
    assert [(task, every) for task, _, every in due] == [("UpdateSync", 86_400)]
    assert fires(app_sessions, "UpdateSync") == [missed]
    assert jobs(app_sessions)["UpdateSync"]["next_slot"] > now
    assert [one for one in fire_due(app_sessions) if one[0] == "UpdateSync"] == []


def test_a_disabled_entry_is_not_fired(app_sessions: Sessions) -> None:
    install_defaults(app_sessions, SETTINGS)
    change(app_sessions, "UpdateSync", enabled=False, next_slot=datetime.now(UTC) - timedelta(hours=3))
    assert "UpdateSync" not in {task for task, _, _ in fire_due(app_sessions)}
    assert fires(app_sessions, "UpdateSync") == []


def test_the_name_of_a_run_tells_its_slot(app_sessions: Sessions) -> None:
    install_defaults(app_sessions, SETTINGS)
    change(app_sessions, "UpdateSync", next_slot=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC))
    (_, task_id, _), *_ = [one for one in fire_due(app_sessions) if one[0] == "UpdateSync"]
    assert task_id == "UpdateSync@20260504T030201.000000Z"


def test_many_beats_fire_each_slot_once_and_miss_none(app_sessions: Sessions) -> None:
    install_defaults(app_sessions, SETTINGS)
    url = str(app_sessions.kw["bind"].url.render_as_string(hide_password=False))
    fired: Counter[str] = Counter()
    errors: list[BaseException] = []
    ends = time.monotonic() + 3

    def beat() -> None:
        engine = make_engine(url)
        try:
            while time.monotonic() < ends:
                fired.update(task_id for _, task_id, _ in fire_due(make_sessions(engine)))
                time.sleep(0.01)
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(fired.values()) == {1}
    slots = fires(app_sessions, "NewAppointmentSync")
    assert len(slots) == sum(task_id.startswith("NewAppointmentSync@") for task_id in fired)
    assert len(slots) >= 8, "of fifteen: a busy machine coalesces some"
    assert {round((slot - EPOCH) / timedelta(seconds=0.2), 3) % 1 for slot in slots} == {0}


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path) as server:
        yield server


def test_a_message_reaches_its_own_queue_only(
    valkey: EmbeddedValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATERTIGHT_BROKER_URL", valkey.url())
    monkeypatch.setenv("WATERTIGHT_STATE_DIR", str(tmp_path))
    script = "from workers.app import app\nfor name in {names!r}: app.send_task(name, task_id=name, args=[1])"
    names = {"new": "NewAppointmentSync", "cancel": "CancellationSync", "update": "UpdateSync", "commit": "Commit"}
    names["upkeep"] = "ResumeCommits"
    run = [sys.executable, "-c", script.format(names=list(names.values()))]
    subprocess.run(run, cwd=ROOT, check=True, timeout=60)
    assert {queue: message_ids(valkey, queue) for queue in names} == {queue: [name] for queue, name in names.items()}


def message_ids(valkey: EmbeddedValkey, queue: str) -> list[str]:
    with redis.Redis.from_url(valkey.url(), decode_responses=True) as broker:
        messages: list[str] = broker.lrange(queue, 0, -1)
    return [json.loads(message)["headers"]["id"] for message in messages]
