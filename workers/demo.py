"""``watertight demo``: the whole stack, a race, steady traffic, quiet, and a verdict."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy.exc import OperationalError

from models.figures import get_newest_proposal
from models.listings import list_calendars
from models.session import transaction
from providers.registry import Credentials, connect
from workers import observability
from workers import verdict as judging
from workers.diary import Diary
from workers.picture import take_picture
from workers.quiet import Quiet, await_quiet
from workers.race import RaceResult, race_once
from workers.settings import LOOPBACK_URL, Settings, SettingsError
from workers.story import Traffic
from workers.supervisor import Log
from workers.up import Running, running
from workers.verdict import Verdict
from workers.view import Screen
from workers.wiring import fleet_limits

# HubSpot: 2.5 searches/s. Quiet is when every job has read every calendar, so none may wait for the vendor's word.
PERIODS = {"new_every": 4.0, "cancel_every": 6.0, "update_every": 6.0, "resume_every": 2.0, "renew_every": 5.0}
SETTINGS: dict[str, object] = PERIODS | {"poll_factor": 1.0, "public_url": LOOPBACK_URL}
STANDSTILL_SECONDS = 60.0  # longer than a commit lease (30 s): what a killed worker had in hand waits for its end
MOST_QUIET_SECONDS = 300.0
RESERVE_SHARE, LEAST_RESERVE, MOST_RESERVE = 0.3, 5.0, 20.0  # of the time, kept for settling
TICK_SECONDS = 0.5
ENDLESS_PACE = 3.0  # without an end the calendars would fill up

T = TypeVar("T")


def run_demo(settings: Settings, *, seconds: float | None, as_json: bool) -> int:
    """Run it for about ``seconds``, or until Ctrl-C; the exit code is 1 if a promise broke.

    Raises:
        SettingsError: real calendars are connected: nobody's own calendar is played with.
        EmbeddedError, NotReady, OSError: the stack does not start.
    """
    real = settings.reading_credentials()
    if real != Credentials():
        raise SettingsError("the demo writes random events; unset the vendors' credentials, and it uses emulators")
    seed = random.SystemRandom().randrange(1_000_000)
    with Screen(as_json=as_json) as screen:
        with _log(settings, screen) as log, running(settings.model_copy(update=SETTINGS), log=log) as run:
            screen.note(f"ready: web {run.web}, Flower {run.flower}, seed {seed}")
            verdict = _Demo(run, screen, seed, _newest(run)).play(seconds)
        screen.close()
        screen.conclude(verdict)
    return 1 if verdict.broken else 0


@contextmanager
def _log(settings: Settings, screen: Screen) -> Iterator[Log]:
    """Every line of every process goes to ``demo.log``; what matters also to the screen."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with (settings.state_dir / "demo.log").open("a", encoding="utf-8", buffering=1) as file:
        observability.configure("WARNING")
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(file)

        def log(name: str, line: str) -> None:
            file.write(f"{name:<18} {line}\n")
            screen.heard(name, line)

        yield log


def _newest(run: Running) -> int:
    with transaction(run.sessions) as session:
        return get_newest_proposal(session)


@dataclass(slots=True)
class _Demo:
    """One run of the story. ``after`` is the last proposal of earlier runs."""

    run: Running
    screen: Screen
    seed: int
    after: int
    diary: Diary = field(default_factory=Diary)
    act: str = "starting"
    began: float = field(default_factory=time.monotonic)
    waiting: int = 0

    def play(self, seconds: float | None) -> Verdict:
        """The acts in order. Ctrl-C ends the traffic early; a second one ends everything."""
        race: RaceResult | None = None
        try:
            race = self._race()
            self._traffic(seconds)
        except KeyboardInterrupt:
            self.screen.note("stopping the traffic; once more ends at once")
        quiet = self._quiet()
        self._say("reading every calendar")
        return self._while(lambda: self._judge(race, quiet))

    def _race(self) -> RaceResult:
        self._say("act 1: two prospects, one hour")
        race = self._while(lambda: race_once(self.run, self.seed, diary=self.diary))
        for racer in (race.london, race.san_francisco):
            outcome = "booked" if racer.accepted else f"refused ({racer.reason})"
            self.screen.note(f"{racer.name} asked {racer.system} for {racer.spelled} = {race.start:%H:%MZ}: {outcome}")
        if race.loser is not None:
            self.screen.note(f"evidence: {race.loser.evidence}")
        return race

    def _traffic(self, seconds: float | None) -> None:
        self._say("act 2: everybody at once")
        with transaction(self.run.sessions) as session:
            calendars = list_calendars(session)
        pace = ENDLESS_PACE if seconds is None else 1.0
        traffic = Traffic(
            self.run, calendars, diary=self.diary, seed=self.seed, waiting=lambda: self.waiting, pace=pace
        )
        try:
            self._tick_until(lambda: seconds is not None and self._elapsed() >= seconds - _reserve(seconds))
        finally:
            self._say("act 3: quiet")
            self._while(traffic.stop)

    def _quiet(self) -> Quiet:
        self._say("act 3: quiet")
        sessions = self.run.sessions
        return self._while(lambda: await_quiet(sessions, standstill=STANDSTILL_SECONDS, at_most=MOST_QUIET_SECONDS))

    def _judge(self, race: RaceResult | None, quiet: Quiet) -> Verdict:
        run = self.run
        calls, exceeded = judging.count_requests(run.emulators)
        proposals = judging.list_run(run.sessions, after=self.after)
        return Verdict(
            seed=self.seed,
            seconds=self._elapsed(),
            proposals=proposals,
            unrecorded=judging.list_unrecorded(self.diary, proposals),
            drift=judging.find_drift(
                run.sessions,
                connect(run.settings.reading_credentials(), limits=fleet_limits(run.settings)),
                window=judging.window_of(run.settings.horizon),
                made=judging.list_made(run.emulators),
            ),
            diary=self.diary,
            race=race,
            quiet=quiet,
            api_calls=calls,
            limits_exceeded=exceeded,
        )

    def _say(self, act: str) -> None:
        if act != self.act:
            self.act = act
            self.screen.note(act)

    def _elapsed(self) -> float:
        return time.monotonic() - self.began

    def _while(self, work: Callable[[], T]) -> T:
        """The result of ``work``, done in a thread while this one keeps the stack and the screen alive."""
        future: Future[T] = Future()
        threading.Thread(target=_fulfil, args=(future, work), name="act", daemon=True).start()
        self._tick_until(future.done)
        return future.result()

    def _tick_until(self, done: Callable[[], bool]) -> None:
        """Look after the stack and draw, until ``done``."""
        while not done():
            self._tick()
            time.sleep(TICK_SECONDS)

    def _tick(self) -> None:
        self.run.keep()
        elapsed = self._elapsed()
        try:
            picture = take_picture(self.run, act=self.act, elapsed=elapsed, diary=self.diary, after=self.after)
        except OperationalError as error:  # killed and on its way back: the next tick shows more
            self.screen.note(f"the database does not answer ({type(error).__name__})")
            return
        self.waiting = picture.open_proposals + picture.open_writes
        self.screen.show(picture)


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
        future.set_exception(error)


def _reserve(seconds: float) -> float:
    return min(MOST_RESERVE, max(LEAST_RESERVE, seconds * RESERVE_SHARE))
