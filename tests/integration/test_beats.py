"""Two beats as processes: killed, without the broker's memory, told otherwise at run time, and restarted."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import redis
from sqlalchemy import select

from models.schedule import BeatFire
from models.session import Sessions, transaction
from sync.actions import Actor
from sync.schedule import ScheduledJob, list_jobs, next_slot, pause, set_period
from workers.embedded import EmbeddedValkey

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-X", "faulthandler", "-m", "celery", "-A", "workers.app", "beat", "--pidfile="]
OLGA = Actor("olga", "cli")
NEW, CANCEL, UPDATE = "NewAppointmentSync", "CancellationSync", "UpdateSync"
PERIOD = 0.5


@dataclass
class Beats:
    """Processes over one database and one broker."""

    sessions: Sessions
    broker: EmbeddedValkey
    folder: Path

    @contextmanager
    def running(self, number: int, **settings: str) -> Iterator[list[subprocess.Popen[bytes]]]:
        told = {
            "STATE_DIR": str(self.folder),
            "DATABASE_URL": self.sessions.kw["bind"].url.render_as_string(hide_password=False),
            "BROKER_URL": self.broker.url(),
            "LOG_LEVEL": "WARNING",
            **settings,
        }
        env = os.environ | {f"WATERTIGHT_{name}": value for name, value in told.items()}
        with (self.folder / "beat.log").open("ab") as log:
            beats = [subprocess.Popen(COMMAND, cwd=ROOT, env=env, stdout=log, stderr=log) for _ in range(number)]
            try:
                yield beats
            finally:
                for beat in beats:
                    beat.terminate()
                codes = {_end(beat) for beat in beats}
        # One that was still starting has no handler of signals yet.
        assert codes <= {0, -signal.SIGKILL, -signal.SIGTERM}, self.log()

    def log(self) -> str:
        return (self.folder / "beat.log").read_text()

    def fires(self, name: str) -> list[tuple[datetime, datetime]]:
        """Slot and when it was fired."""
        with transaction(self.sessions) as session:
            query = select(BeatFire.slot, BeatFire.fired_at).where(BeatFire.name == name).order_by(BeatFire.slot)
            return [(slot, at) for slot, at in session.execute(query)]

    def job(self, name: str) -> ScheduledJob:
        with transaction(self.sessions) as session:
            return next(job for job in list_jobs(session) if job.name == name)

    def wait_for_more(self, name: str, number: int) -> None:
        wanted = len(self.fires(name)) + number
        self.wait(lambda: len(self.fires(name)) >= wanted, f"{number} more runs of {name}")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        ends = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < ends, f"{what}: {self.log()}"
            time.sleep(0.05)

    def take_messages(self, queue: str) -> list[str]:
        """What was published, with the broker's whole memory: it is empty afterwards."""
        with redis.Redis.from_url(self.broker.url(), decode_responses=True) as client, client.pipeline() as pipeline:
            messages, _ = pipeline.lrange(queue, 0, -1).flushall().execute()
        return [json.loads(message)["headers"]["id"] for message in messages]


def _end(beat: subprocess.Popen[bytes]) -> int:
    """Its exit code; one that does not end writes into its log where it stands."""
    try:
        return beat.wait(30)
    except subprocess.TimeoutExpired:
        beat.send_signal(signal.SIGABRT)
        return beat.wait(30)


@pytest.fixture
def beats(app_sessions: Sessions, tmp_path: Path) -> Iterator[Beats]:
    with EmbeddedValkey(tmp_path) as valkey:
        yield Beats(app_sessions, valkey, tmp_path)


def test_every_slot_is_fired_once_whatever_happens_to_beats_and_broker(beats: Beats) -> None:
    with beats.running(2, NEW_EVERY=str(PERIOD), CANCEL_EVERY=str(PERIOD), UPDATE_EVERY="3600") as processes:
        beats.wait_for_more(NEW, 4)
        processes[0].kill()
        beats.wait_for_more(NEW, 4)
        sent = beats.take_messages("new")
        beats.wait_for_more(NEW, 4)
        _follow_an_operator(beats)
    sent += beats.take_messages("new")
    _assert_once(beats, sent)
    _restart_with_other_settings(beats)


def _follow_an_operator(beats: Beats) -> None:
    """Without a restart, and at once: after a pause is committed no beat fires any more."""
    assert beats.fires(UPDATE) == []
    with transaction(beats.sessions) as session:
        set_period(session, UPDATE, every=PERIOD, by=OLGA)
        pause(session, CANCEL, by=OLGA)
    before = beats.fires(CANCEL)
    beats.wait_for_more(UPDATE, 3)
    beats.wait_for_more(NEW, 3)
    assert beats.fires(CANCEL) == before


def _assert_once(beats: Beats, sent: list[str]) -> None:
    fires = beats.fires(NEW)
    names = [f"{NEW}@{slot:%Y%m%dT%H%M%S.%f}Z" for slot, _ in fires]
    assert set(Counter(sent).values()) == {1}
    assert set(sent) <= set(names)
    assert len(names) - len(sent) <= 3, "what each beat had claimed when it was killed or stopped"
    for (slot, at), (following, _) in itertools.pairwise(fires):
        assert slot < following <= next_slot(at, PERIOD), "a slot was missed that came after this one was fired"


def _restart_with_other_settings(beats: Beats) -> None:
    """What people have changed is theirs, and the rest follows the settings."""
    with beats.running(1, NEW_EVERY="0.7", CANCEL_EVERY="0.7", UPDATE_EVERY="1800"):
        beats.wait(lambda: beats.job(NEW).every == 0.7, "new settings")
        beats.wait_for_more(UPDATE, 2)
    kept = [(job.every, job.enabled, job.changed_by) for job in (beats.job(UPDATE), beats.job(CANCEL))]
    assert kept == [(PERIOD, True, "olga (cli)"), (PERIOD, False, "olga (cli)")]
