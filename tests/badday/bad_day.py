"""A bad day at all four vendors at once, and whether every promise was kept: ``python -m tests.badday.bad_day --help``.

The real stack runs in a state directory of its own. While people type and ask, a share of all the vendors' answers is
spoilt; then the vendors recover, people stop, everything comes to rest, and every calendar is compared with the ledger.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from sqlalchemy.exc import OperationalError

from models.agents import Calendar
from models.listings import list_calendars
from models.queries import list_open
from models.session import transaction
from providers.registry import connect
from sync.patience import release_calendar
from tests.badday.cast import agents, keep_keys
from tests.badday.outcome import Outcome, control, read_books, read_toll, seconds_put_off, table_of
from tests.badday.traffic import Traffic
from workers import observability
from workers import verdict as judging
from workers.agents_file import store_agents
from workers.diary import Diary
from workers.quiet import Quiet, await_quiet
from workers.settings import load
from workers.up import Running, running
from workers.verdict import Verdict
from workers.wiring import fleet_limits

MOST_OPEN = 60
TICK_SECONDS, LINE_SECONDS = 1.0, 15.0
STANDSTILL_SECONDS = 400.0  # longer than what was refused is left alone (300 s), and than any lease
MOST_QUIET_SECONDS = 1200.0
PATIENCE_SECONDS = 120.0  # a job that would leave a calendar alone for longer is told by hand to go on

T = TypeVar("T")


@dataclass(slots=True)
class Day:
    """One run on a stack that stands."""

    run: Running
    told: argparse.Namespace
    diary: Diary = field(default_factory=Diary)
    began: float = field(default_factory=time.monotonic)
    act: str = ""
    open: tuple[int, int] = (0, 0)
    spoke: float = 0.0
    load: tuple[float, ...] = ()  # of the machine, over 1, 5 and 15 minutes, when the traffic ended

    def play(self) -> Outcome:
        self._traffic()
        self._for_all("DELETE")
        put_off, released = self._release()
        self.act = "quiet"
        quiet = self._while(
            lambda: await_quiet(self.run.sessions, standstill=STANDSTILL_SECONDS, at_most=MOST_QUIET_SECONDS)
        )
        books = read_books(self.run.emulators)  # before the verdict asks as well
        self.act = "verdict"
        verdict = self._while(lambda: self._judge(quiet))
        told = {name: getattr(self.told, name) for name in ("agents", "share", "seconds")}
        told["load_average"] = [round(load, 1) for load in self.load]
        return Outcome(verdict, books, read_toll(self.run.sessions), put_off, released, told)

    def _traffic(self) -> None:
        """People and vendors at their worst, for as long as was asked."""
        self.act = "bad day"
        with transaction(self.run.sessions) as session:
            calendars = list_calendars(session)
        self._for_all("POST")
        traffic = Traffic(
            self.run,
            calendars,
            diary=self.diary,
            seed=self.told.seed,
            pace=self.told.pace,
            is_full=lambda: sum(self.open) > MOST_OPEN,
        )
        end = time.monotonic() + self.told.seconds
        self._tick_until(lambda: time.monotonic() >= end)
        self.load = os.getloadavg()
        self._while(traffic.stop)

    def watch(self) -> None:
        """Look at whatever a longer run wants to know; about once a second."""

    def _for_all(self, method: str) -> None:
        """Begin the day at every vendor, each with a seed of its own, or end it."""
        for number, url in enumerate(self.run.emulators.values()):
            profile = {"seed": self.told.seed * 10 + number, "share": self.told.share}
            control(method, f"{url}/_control/bad-day", profile if method == "POST" else None)

    def _release(self) -> tuple[list[float], int]:
        """For how long calendars are left alone now that the vendors are well again, and how many were told to go on."""
        with transaction(self.run.sessions) as session:
            waits = {row.id: seconds_put_off(row) for row in list_calendars(session)}
            long = [number for number, seconds in waits.items() if max(seconds, default=0.0) > PATIENCE_SECONDS]
            for number in long:
                row = session.get_one(Calendar, number, with_for_update=True)
                if row.stopped_code is None:
                    release_calendar(session, row)
        return [seconds for own in waits.values() for seconds in own], len(long)

    def _judge(self, quiet: Quiet) -> Verdict:
        run, exceeded = self.run, judging.count_requests(self.run.emulators)
        proposals = judging.list_run(run.sessions, after=0)
        drift = judging.find_drift(
            run.sessions,
            connect(run.settings.reading_credentials(), limits=fleet_limits(run.settings)),
            window=judging.window_of(run.settings.horizon),
            made=judging.list_made(run.emulators),
        )
        return Verdict(
            seed=self.told.seed,
            seconds=time.monotonic() - self.began,
            proposals=proposals,
            unrecorded=judging.list_unrecorded(self.diary, proposals),
            drift=drift,
            diary=self.diary,
            race=None,
            quiet=quiet,
            api_calls=exceeded[0],
            limits_exceeded=exceeded[1],
        )

    def _while(self, work: Callable[[], T]) -> T:
        """The result of ``work``, done in a thread while this one keeps the stack alive."""
        future: Future[T] = Future()
        threading.Thread(target=_fulfil, args=(future, work), daemon=True).start()
        self._tick_until(future.done)
        return future.result()

    def _tick_until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.run.keep()
            try:
                with transaction(self.run.sessions) as session:
                    self.open = list_open(session)
            except OperationalError as error:
                _say(f"the database does not answer ({type(error).__name__})")
            self.watch()
            if time.monotonic() - self.spoke >= LINE_SECONDS:
                self.spoke = time.monotonic()
                _say(
                    f"{self.spoke - self.began:5.0f} s  {self.act}: {self.diary.count()} things done, {self.open} open"
                )
            time.sleep(TICK_SECONDS)


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
        future.set_exception(error)


def _say(text: str) -> None:
    sys.stderr.write(f"bad day: {text}\n")


def main() -> int:
    """The exit code is 1 if a promise broke."""
    told = arguments().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the stack stops in order
    with tempfile.TemporaryDirectory(prefix="bad-day-", ignore_cleanup_errors=True) as folder:
        figures = play(told, Path(told.state or folder), make=Day).as_dict()
        if figures["broken"]:
            keep(folder)
    Console(width=160).print(table_of(figures))
    if told.json:
        Path(told.json).write_text(json.dumps(figures, indent=2), encoding="utf-8")
    return 1 if figures["broken"] else 0


def keep(folder: str) -> None:
    """Ledger, logs and the vendors' journals of a day on which a promise broke: without them nobody finds out why."""
    _say(f"what is left of this day is kept in {Path(folder).rename(f'{folder}-kept')}")


def play(told: argparse.Namespace, state_dir: Path, *, make: Callable[[Running, argparse.Namespace], Day]) -> Outcome:
    """A day as ``make`` has it, on a stack of its own in ``state_dir``."""
    state_dir.mkdir(parents=True, exist_ok=True)
    cast = agents(told.agents)
    keep_keys(state_dir, cast)
    for name in [name for name in os.environ if name.startswith("WATERTIGHT_")]:
        del os.environ[name]  # no setting of whoever runs this
    settings = load().model_copy(update={"state_dir": state_dir, **_pace(told.agents)})
    observability.configure("WARNING")
    with (state_dir / "stack.log").open("a", encoding="utf-8", buffering=1) as file:

        def log(name: str, line: str) -> None:
            file.write(f"{name:<18} {line}\n")

        with running(settings, log=log) as run:
            store_agents(run.sessions, cast)
            return make(run, told).play()


def _pace(count: int) -> dict[str, Any]:
    """Periods in seconds at which two cores keep up: every agent has four calendars, and each is read by three jobs."""
    new = max(4.0, 1.5 * count)
    return {
        "new_every": new,
        "cancel_every": 1.5 * new,
        "update_every": 1.5 * new,
        "resume_every": 4.0,
        "renew_every": 10.0,
        "poll_factor": 1.0,  # quiet is when every job has read every calendar
        "job_threads": 6,
        "commit_processes": 2,
    }


def arguments(description: str | None = __doc__) -> argparse.ArgumentParser:
    """What every such day is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="of traffic and faults; coming to rest takes longer"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.15, help="of all requests that are spoilt")
    parser.add_argument("--pace", type=float, default=1.0, help="stretches every pause of the people")
    parser.add_argument("--json", default="", help="a file for the figures")
    parser.add_argument("--state", default="", help="a state directory to keep; else a temporary one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
