"""``watertight up`` as a process of its own, and a person who uses it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis
import requests

from models.letters import list_dead_letters
from models.listings import list_alerts, list_calendars
from models.session import make_engine, make_sessions, transaction
from workers.supervisor import is_gone

Found = TypeVar("Found")

ROOT = Path(__file__).parents[2]
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=5)
DECIDED = ("settled", "refused")
HUBSPOT_TOKENS = ("pat-emulated-reader", "pat-emulated")
FAST = {
    "NEW_EVERY": "6",  # twelve calendars, three jobs: at every other second they take a core
    "CANCEL_EVERY": "6",
    "UPDATE_EVERY": "6",
    "RESUME_EVERY": "1",
    "JOB_THREADS": "3",
    "RENEW_EVERY": "2",
    "POLL_FACTOR": "1",
}


def wait_for(look: Callable[[], Found], what: str, *, seconds: float = 60) -> Found:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"after {seconds} s still no {what}"
        time.sleep(0.1)
    return found


def environment(state_dir: Path, **more: str) -> dict[str, str]:
    """Ours without any setting of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WATERTIGHT_")}
    told = {"STATE_DIR": str(state_dir), **more}
    return kept | {f"WATERTIGHT_{name}": value for name, value in told.items()} | {"COLUMNS": "200"}


class Stack:
    """One state directory and the program that runs on it."""

    def __init__(self, folder: Path) -> None:
        self.state_dir = folder / "state"
        self.log = folder / "up.log"
        self.burst: list[int] = []
        self.private: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._hours = itertools.count()
        self._days = itertools.count(10)  # beyond the hours

    # The program

    def start(self) -> None:
        # What a killed run wrote would pass for ready as long as its children linger.
        (self.state_dir / "run.json").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.cli", "up"], cwd=ROOT, env=environment(self.state_dir, **FAST), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )  # fmt: skip
        wait_for(lambda: self._runs() and self._answers(), "stack that is ready", seconds=180)

    def _runs(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        return (self.state_dir / "run.json").exists()

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.run['web']}/readyz", timeout=5).ok
        except requests.RequestException:
            return False

    @property
    def run(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state_dir / "run.json").read_text())
        return found

    @property
    def pids(self) -> dict[str, int]:
        found: dict[str, int] = self.run["processes"]
        return found

    def command(self, *arguments: str, program: str = "workers.cli") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", program, *arguments], cwd=ROOT, env=environment(self.state_dir), capture_output=True, text=True, timeout=120, check=False
        )  # fmt: skip

    def end(self, number: int) -> int:
        """The exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    def clean_up(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)
        marked = [one for one in psutil.process_iter(["cwd"]) if str(one.info["cwd"]).startswith(str(self.state_dir))]
        for process in marked:
            process.kill()

    # Its processes

    def kill(self, name: str) -> int:
        pid = self.pids[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def revived(self, name: str, *, instead_of: int) -> int:
        return wait_for(
            lambda: (pid := self.pids.get(name, 0)) not in {0, instead_of} and not is_gone(pid) and pid, f"new {name}"
        )

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """A worker with its children, each in a session of its own, stopped by the kernel."""
        pid = self.pids[name]
        os.killpg(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(pid, signal.SIGCONT)

    # A person

    def free_hour(self) -> datetime:
        """An hour that no other test uses."""
        return MIDNIGHT + timedelta(hours=next(self._hours))

    def free_day(self) -> datetime:
        """A day that no other test uses."""
        return MIDNIGHT + timedelta(days=next(self._days))

    def propose(self, title: str, *, start: datetime, agent: str = "dana", minutes: int = 45) -> int:
        answer = self.ask(title, start=start, agent=agent, minutes=minutes)
        assert answer.status_code == 202, answer.text
        return int(answer.json()["id"])

    def ask(self, title: str, *, start: datetime, agent: str = "dana", minutes: int = 45) -> requests.Response:
        """The same wish has the same key, however often it is sent."""
        end = start + timedelta(minutes=minutes)
        guest = {"name": f"Guest of {title}", "email": f"{title.replace(' ', '.')}@prospect.example"}
        self.private |= {title, guest["email"]}
        body = {
            "agent": agent,
            "start": start.isoformat(),
            "end": end.isoformat(),
            "title": title,
            "attendees": [guest],
        }
        key = {"Idempotency-Key": f"{title}@{start}"}
        return requests.post(f"{self.run['web']}/api/proposals", json=body, headers=key, timeout=30)

    def proposal(self, number: int) -> dict[str, Any]:
        answer = requests.get(f"{self.run['web']}/api/proposals/{number}", timeout=30)
        found: dict[str, Any] = answer.json()
        return found

    def is_decided(self, number: int) -> bool:
        try:
            return self.proposal(number).get("state") in DECIDED
        except requests.RequestException:
            return False

    def types(self, provider: str, title: str, *, start: datetime, agent: str = "dana", **details: Any) -> str:  # noqa: ANN401 - as the emulator takes them
        """Somebody writes an event into a vendor's own window."""
        self.private.add(title)
        event = {"title": title, "start": start.isoformat(), "end": (start + timedelta(minutes=45)).isoformat()}
        body = {"action": "create", "calendar": mailbox(agent), "event": event, **details}
        shown = self.control(provider, "events", body)
        return str(shown["id"])

    def control(self, provider: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = requests.post(f"{self.run['emulators'][provider]}/_control/{path}", json=body, timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def heal(self, provider: str) -> None:
        requests.delete(f"{self.run['emulators'][provider]}/_control/faults", timeout=30).raise_for_status()

    def shown(self, provider: str, *, agent: str = "dana") -> list[tuple[str, datetime]]:
        """Title and start of every event, as the vendor has them."""
        state = requests.get(f"{self.run['emulators'][provider]}/_control/state", timeout=30).json()
        events = state["calendars"].get(mailbox(agent), [])
        return sorted(
            (one.get("subject", one.get("summary", "")), _instant(one["start"]["dateTime"])) for one in events
        )

    # What the system knows

    def look(self, read: Callable[..., Found]) -> Found:
        engine = make_engine(self.run["database_url"])
        try:
            with transaction(make_sessions(engine)) as session:
                return read(session)
        finally:
            engine.dispose()

    def reads(self, job: str) -> datetime:
        """When the job last read any calendar. (What a killed worker had in hand waits for its lease.)"""
        return max(calendar.read_at[job] for calendar in self.look(list_calendars) if job in calendar.read_at)

    def newest_read(self, calendar: int) -> datetime:
        """When any job last read this one."""
        return max(next(one.read_at for one in self.look(list_calendars) if one.id == calendar).values())

    def alerts(self) -> list[dict[str, Any]]:
        return self.look(list_alerts)

    def dead_letters(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in self.look(list_dead_letters)]

    def secrets(self) -> set[str]:
        """Whatever of the embedded world would open a door, and what people typed."""
        key = json.loads((self.state_dir / "google-service-account.json").read_text())["private_key"]
        calcom = json.loads((self.state_dir / "calcom-keys.json").read_text()).values()
        files = [self.state_dir / "valkey" / "password", *self.state_dir.glob("webhook-key")]
        lines = {line for line in key.splitlines() if not line.startswith("-")}
        return {*lines, *calcom, *HUBSPOT_TOKENS, *(file.read_text().strip() for file in files), *self.private}

    def broker(self) -> redis.Redis:
        return redis.Redis.from_url(self.run["broker_url"], decode_responses=True)


def mailbox(agent: str) -> str:
    return f"{agent}@watertight.example"


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
