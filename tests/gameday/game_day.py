"""A game day: seven things break in a whole stack, one after another, and people are told: ``python -m tests.gameday.game_day --help``.

Real processes, real servers, the vendors' emulators, steady traffic, and a real webhook to which Apprise delivers the alerts.
For each drill: who was told what and when, what the runbook says, whether it was resolved, and whether every promise was kept.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from providers.registry import connect
from tests.gameday.drills import OUTAGE_SECONDS, QUEUE_MESSAGES, Drill, list_drills
from tests.gameday.inbox import Mailbox, Message, open_mailbox, render
from tests.gameday.outcome import Outcome, Told, figures_of, markdown_of, table_of
from tests.gameday.runbook import read_advice
from tests.gameday.stage import ROOT, Stage
from workers import observability
from workers import verdict as judging
from workers.quiet import Quiet, await_quiet
from workers.settings import load
from workers.up import running
from workers.verdict import Verdict
from workers.wiring import fleet_limits

ALERT_SECONDS = 240.0  # for an alert to come, and as long for it to be resolved
AFTER_SECONDS = 15.0  # people go on for a while when it is over
STANDSTILL_SECONDS, MOST_QUIET_SECONDS = 400.0, 900.0
WARM_UP_SECONDS = 120.0
PACE = {"new_every": 12.0, "cancel_every": 16.0, "update_every": 20.0, "resume_every": 5.0, "renew_every": 15.0}
SETTINGS: dict[str, Any] = PACE | {"audit_every": 60.0, "poll_factor": 1.0, "job_threads": 4, "commit_processes": 2}
LIMITS = {"PICTURE_SECONDS": "240", "QUEUE_SECONDS": "60", "QUEUE_MESSAGES": str(QUEUE_MESSAGES)}


@dataclass(slots=True)
class GameDay:
    """One run on a stack that stands."""

    stage: Stage
    mailbox: Mailbox
    seed: int
    pace: float
    began: float

    def warm_up(self) -> None:
        """People use it until something was booked and something refused, as on any day."""
        traffic = self.stage.people(seed=self.seed, pace=self.pace / 4)

        def both() -> bool:
            found = {row.accepted for row in judging.list_run(self.stage.run.sessions, after=0)}
            return {True, False} <= found

        ready = self.stage.wait(both, seconds=WARM_UP_SECONDS)
        self.stage.while_(traffic.stop)
        assert ready, "nothing was booked, or nothing refused, before anything broke"

    def play(self, drill: Drill, number: int) -> Outcome:
        """The drill from the fault to the verdict."""
        self.say(f"{drill.name}: {drill.fault}")
        traffic = self.stage.people(seed=self.seed + number, pace=self.pace)
        began = time.monotonic()
        drill.begin(self.stage)
        self.stage.wait(lambda: self._has_told(drill, began), seconds=max(ALERT_SECONDS, drill.seconds))
        self.stage.wait(lambda: time.monotonic() >= began + drill.seconds, seconds=drill.seconds)
        ended = time.monotonic()
        self.say(f"{drill.name}: over after {ended - began:.0f} s")
        drill.end(self.stage)
        by_hand = self._by_hand(drill)
        self.stage.wait(lambda: False, seconds=AFTER_SECONDS)
        self.stage.while_(traffic.stop)
        return self._conclude(drill, began=began, ended=ended, by_hand=by_hand)

    def _has_told(self, drill: Drill, began: float) -> bool:
        return set(drill.codes) <= {one.code for one in self.mailbox.since(began)}

    def _by_hand(self, drill: Drill) -> str:
        """What the runbook says about having the work run at once."""
        lines = [f"watertight failures replay --code {code}" for code in drill.replayed]
        return "\n".join(f"{line}: {_tail(self.stage.command(line))}" for line in lines)

    def _conclude(self, drill: Drill, *, began: float, ended: float, by_hand: str) -> Outcome:
        sessions = self.stage.run.sessions
        quiet = self.stage.while_(
            lambda: await_quiet(sessions, standstill=STANDSTILL_SECONDS, at_most=MOST_QUIET_SECONDS)
        )
        self.say(f"{drill.name}: at rest")
        self.stage.wait(lambda: not _unresolved(self.mailbox.since(began)), seconds=ALERT_SECONDS)
        verdict = self.stage.while_(lambda: self._judge(quiet))
        messages = self.mailbox.since(began)
        told = told_of(messages, drill.codes, began=began, ended=ended)
        runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
        return Outcome(
            drill.name,
            drill.fault,
            ended - began,
            told,
            [code for code in drill.codes if code not in {one.code for one in told}],
            [read_advice(runbook, code) for code in drill.codes],
            by_hand,
            quiet.seconds,
            verdict.broken,
        )

    def _judge(self, quiet: Quiet) -> Verdict:
        run, exceeded = self.stage.run, judging.count_requests(self.stage.run.emulators)
        proposals = judging.list_run(run.sessions, after=0)
        drift = judging.find_drift(
            run.sessions,
            connect(run.settings.reading_credentials(), limits=fleet_limits(run.settings)),
            window=judging.window_of(run.settings.horizon),
            made=judging.list_made(run.emulators),
        )
        return Verdict(
            seed=self.seed,
            seconds=time.monotonic() - self.began,
            proposals=proposals,
            unrecorded=judging.list_unrecorded(self.stage.diary, proposals),
            drift=drift,
            diary=self.stage.diary,
            race=None,
            quiet=quiet,
            api_calls=exceeded[0],
            limits_exceeded=exceeded[1],
        )

    def say(self, words: str) -> None:
        sys.stderr.write(f"game day: {time.monotonic() - self.began:5.0f} s  {words}\n")


def _tail(line: str) -> str:
    """Without the name of the program, which begins what it says to people."""
    return " ".join(line.removeprefix("watertight").split())


def told_of(messages: list[Message], codes: tuple[str, ...], *, began: float, ended: float) -> list[Told]:
    """Each thing that people were told of, once, with its first message and its last "over"."""
    opened = {(one.code, one.where): one for one in reversed(messages) if one.label != "resolved"}
    over = {(one.code, one.where): one for one in messages if one.label == "resolved"}
    return [
        Told(
            *key,
            one.label,
            one.at - began,
            max(0.0, over[key].at - ended) if key in over else None,
            expected=one.code in codes,
        )
        for key, one in sorted(opened.items(), key=lambda item: item[1].at)
    ]


def _unresolved(messages: list[Message]) -> set[tuple[str, str]]:
    """What people believe to be going on still."""
    last = {(one.code, one.where): one for one in messages}
    return {key for key, one in last.items() if one.label != "resolved"}


def main() -> int:
    """The exit code is 1 unless every drill alerted what it must, was resolved, and left nothing broken."""
    told = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the stack stops in order
    with tempfile.TemporaryDirectory(prefix="game-day-") as folder, open_mailbox() as mailbox:
        outcomes = _run(told, Path(told.state or folder), mailbox)
        if told.page:
            Path(told.page).write_text(render(mailbox.got), encoding="utf-8")
        if told.keep:
            Path(told.keep).write_text(json.dumps([_kept(one) for one in mailbox.got], indent=2), encoding="utf-8")
    Console(width=200).print(table_of(outcomes))
    if told.markdown:
        Path(told.markdown).write_text(markdown_of(outcomes), encoding="utf-8")
    if told.json:
        figures = figures_of(outcomes, settings=SETTINGS | LIMITS)
        Path(told.json).write_text(json.dumps(figures, indent=2), encoding="utf-8")
    return 0 if outcomes and all(one.passed for one in outcomes) else 1


def _kept(message: Message) -> dict[str, str]:
    return {"when": message.when, "title": message.title, "body": message.body}


def _run(told: argparse.Namespace, state_dir: Path, mailbox: Mailbox) -> list[Outcome]:
    state_dir.mkdir(parents=True, exist_ok=True)
    for name in [name for name in os.environ if name.startswith("WATERTIGHT_")]:
        del os.environ[name]  # no setting of whoever runs this
    os.environ |= {f"WATERTIGHT_{name}": value for name, value in LIMITS.items()}
    os.environ["WATERTIGHT_ALERT_URLS"] = mailbox.url
    settings = load().model_copy(update={"state_dir": state_dir, **SETTINGS})
    observability.configure("ERROR")
    drills = [one for one in list_drills(outage_seconds=told.outage_seconds) if not told.only or one.name in told.only]
    with (state_dir / "stack.log").open("a", encoding="utf-8", buffering=1) as file:

        def log(name: str, line: str) -> None:
            file.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {name:<18} {line}\n")

        with running(settings, log=log) as run:
            day = GameDay(Stage(run), mailbox, told.seed, told.pace, time.monotonic())
            day.warm_up()
            return [day.play(drill, number) for number, drill in enumerate(drills, start=1)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outage-seconds", type=float, default=OUTAGE_SECONDS, help="for how long the vendor is away")
    parser.add_argument("--only", nargs="*", default=(), help="names of drills; else all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pace", type=float, default=4.0, help="stretches every pause of the people")
    parser.add_argument("--markdown", default="", help="a file for the table as docs/gameday.md shows it")
    parser.add_argument("--json", default="", help="a file for the figures")
    parser.add_argument("--page", default="", help="a file for every message as a chat shows it (HTML)")
    parser.add_argument("--keep", default="", help="a file for every message that arrived")
    parser.add_argument("--state", default="", help="a state directory to keep; else a temporary one")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
