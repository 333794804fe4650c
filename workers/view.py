"""The demo's screen: a live view on a terminal, plain lines elsewhere, and the verdict for people or for machines."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from models.figures import ProposalFigure
from sync.domain import Job
from workers.picture import Picture
from workers.verdict import Verdict

NOTES = 4
FEWEST_ROWS, OTHER_LINES = 3, 24  # the proposals get what the rest of the view leaves of the terminal's height
PLAIN_SECONDS = 5.0
MATTERS = re.compile(
    r"ended with|starting again|cannot be started|[\"']?level[\"']?\s*[:=]\s*[\"']?(?:error|critical)|Traceback"
)
MOST_BROKEN = 20
COLOURS = {True: "green", False: "red", None: "yellow"}


class Screen:
    """Where the demo shows itself. ``out`` gets the view; with ``as_json`` stdout gets one JSON object and nothing else."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._out = Console(stderr=as_json)
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._lock = threading.Lock()  # notes come from the processes' readers
        self._live = Live(console=self._out, auto_refresh=False, transient=True) if self._out.is_terminal else None
        self._last_line = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back, so that what follows stays on it."""
        if self._live is not None:
            self._live.stop()

    def heard(self, name: str, line: str) -> None:
        """A process wrote a line; only what a person should know is shown."""
        if MATTERS.search(line):
            self.note(f"{name}: {line}")

    def note(self, text: str) -> None:
        """One line for the bottom of the view, or for the stream of plain lines."""
        with self._lock:
            self._notes.append(f"{datetime.now().astimezone():%H:%M:%S} {text}")
            if self._live is None:
                self._out.print(f"watertight: {text}", markup=False, highlight=False, soft_wrap=True)

    def show(self, picture: Picture) -> None:
        """The newest state of things."""
        if self._live is not None:
            with self._lock:
                notes = list(self._notes)
            rows = max(FEWEST_ROWS, self._out.height - OTHER_LINES)
            self._live.update(_view(picture, notes, rows=rows), refresh=True)
        elif picture.elapsed - self._last_line >= PLAIN_SECONDS:
            self._last_line = picture.elapsed
            self.note(_plain(picture))

    def conclude(self, verdict: Verdict) -> None:
        """The verdict, after the view is closed."""
        self._out.print(_verdict(verdict))
        if self._as_json:
            sys.stdout.write(json.dumps(verdict.as_dict()) + "\n")
            sys.stdout.flush()


def _plain(picture: Picture) -> str:
    return (
        f"{picture.elapsed:5.0f} s  {picture.act}: {picture.changes} things done by people, {picture.decided} decided "
        f"({picture.accepted} accepted), {picture.open_proposals} proposals and {picture.open_writes} writes open"
    )


def _view(picture: Picture, notes: Iterable[str], *, rows: int) -> RenderableType:
    bottom = Text("\n".join(notes) or "all processes run", style="dim", no_wrap=True, overflow="ellipsis")
    return Group(
        _header(picture),
        _recent(picture, rows=rows),
        _calendars(picture),
        _counters(picture),
        Panel(bottom, title="log"),
    )


def _header(picture: Picture) -> RenderableType:
    agents = ", ".join(sorted({f"{calendar.agent} ({_city(calendar.zone)})" for calendar in picture.calendars}))
    text = (
        f"[bold]{picture.act}[/bold]   {picture.elapsed:.0f} s\n{agents}\nweb {picture.web}   Flower {picture.flower}"
    )
    return Panel(text, title="watertight", title_align="left")


def _recent(picture: Picture, *, rows: int) -> RenderableType:
    table = Table(*("no.", "agent", "wish", "from", "local time", "UTC", "decision"), box=SIMPLE_HEAD, expand=True)
    for row in picture.recent[:rows]:
        decision = Text(row.reason or row.state, style=COLOURS[row.accepted])
        table.add_row(str(row.id), row.agent, f"{row.kind} {row.title}", row.origin, *_times(row), decision)
    return table


def _times(row: ProposalFigure) -> tuple[str, str]:
    if row.starts_at is None:
        return "", ""
    local = row.starts_at.astimezone(ZoneInfo(row.zone))
    return f"{local:%a %d %b %H:%M} {_city(row.zone)}", f"{row.starts_at:%d %b %H:%MZ}"


def _city(zone: str) -> str:
    return zone.rpartition("/")[2].replace("_", " ")


def _calendars(picture: Picture) -> RenderableType:
    """One line for each agent: what every calendar shows, master first."""
    table = Table.grid(padding=(0, 3))
    for agent in sorted({calendar.agent for calendar in picture.calendars}):
        own = [calendar for calendar in picture.calendars if calendar.agent == agent]
        cells = [
            Text(
                f"{calendar.provider} {calendar.role}: {calendar.stopped_code or f'{calendar.events} events'}",
                style="red" if calendar.stopped_code else "",
            )
            for calendar in sorted(own, key=lambda calendar: calendar.role)
        ]
        table.add_row(agent, *cells)
    return table


def _counters(picture: Picture) -> RenderableType:
    table = Table.grid(padding=(0, 3))
    reasons = "  ".join(f"{reason} {count}" for reason, count in sorted(picture.decisions.items()))
    table.add_row("decided", f"{picture.decided}   {reasons}")
    table.add_row("open", f"{picture.open_proposals} proposals, {picture.open_writes} writes to follow")
    for role in ("master", "mirror"):
        lags = ((job.value, picture.lag(role, job.value)) for job in Job)
        table.add_row(f"lag {role}", "  ".join(f"{job} {_seconds(lag)}" for job, lag in lags))
    table.add_row("people", f"{picture.changes} things done{_listed(', not taken: ', picture.errors)}")
    if picture.alerts:
        table.add_row("alerts", _listed("", picture.alerts))
    return table


def _seconds(lag: float | None) -> str:
    return "never read" if lag is None else f"{lag:.1f} s"


def _listed(before: str, counts: dict[str, int]) -> str:
    return before + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) if counts else ""


def _verdict(verdict: Verdict) -> RenderableType:
    figures = verdict.as_dict()
    table = Table.grid(padding=(0, 3))
    for name in ("proposals", "booked", "moved", "cancelled"):
        table.add_row(name, str(figures[name]))
    table.add_row("refused", _listed("", verdict.refused) or "0")
    for name in ("overlaps_on_master", "lost", "mirrors_out_of_step", "strays"):
        table.add_row(name.replace("_", " "), Text(str(figures[name]), style="red" if figures[name] else "green"))
    table.add_row("overlaps made by people", str(figures["overlaps_made_by_people"]))
    table.add_row("the race", _race_sentence(verdict))
    for name in ("time_to_decide_seconds", "time_to_reflect_seconds"):
        times = figures[name]
        table.add_row(name.replace("_", " "), f"p50 {times['p50']}   p99 {times['p99']}   of {times['of']}")
    table.add_row("API calls", _listed("", verdict.api_calls))
    table.add_row("traffic", f"{verdict.diary.count()} things done{_listed(', not taken: ', verdict.diary.errors())}")
    table.add_row("seed", str(verdict.seed))
    broken = verdict.broken
    lines = [Text(sentence, style="red") for sentence in broken[:MOST_BROKEN]]
    title = f"{len(broken)} promises broken" if broken else "every promise was kept"
    return Panel(Group(table, *lines), title=f"verdict: {title}", border_style="red" if broken else "green")


def _race_sentence(verdict: Verdict) -> str:
    race = verdict.race
    if race is None or race.winner is None or race.loser is None:
        return "not decided"
    winner, loser = race.winner, race.loser
    return (
        f"{winner.name} ({winner.system}, {winner.spelled}) is booked; "
        f"{loser.name} ({loser.system}, {loser.spelled}) is refused: {loser.reason}"
    )
