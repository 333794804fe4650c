"""The commands about calendars: list, release, read by hand, and whether the accounts behind them work."""

from __future__ import annotations

from typing import Annotated

import typer

from models.agents import Calendar
from models.session import transaction
from sync.actions import record_action
from sync.domain import CalendarId
from sync.errors import NotFound
from sync.patience import release_calendar
from workers.doctor import examine
from workers.listing import AsJson, show, show_calendars
from workers.manual import JobName, run_by_hand
from workers.terminal import line, operator, read_calendars, runtime

BIGGEST_CALENDAR = 2**31 - 1

calendars = typer.Typer(help="The calendars and how fresh our picture of them is.", no_args_is_help=True)


@calendars.command("list")
def list_calendars(json: AsJson = False) -> None:  # noqa: FBT002 - a command-line flag
    """Every calendar with its events and the time of each job's last complete read."""
    show_calendars(read_calendars(), as_json=json)


@calendars.command()
def release(
    calendar_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=BIGGEST_CALENDAR, help="See calendars list.")],
) -> None:
    """Let the jobs go on with a calendar that was stopped for a human, or that they leave alone because it kept failing.

    After a mass change this says that the events are really gone: each job may believe so once.
    """
    with transaction(runtime().sessions) as session:
        calendar = session.get(Calendar, calendar_id, with_for_update=True)
        if calendar is None:
            raise NotFound(f"no calendar {calendar_id}")
        before = {"stopped": calendar.stopped_code}
        release_calendar(session, calendar)
        record_action(session, operator(), "calendars.release", about=f"calendar:{calendar_id}", before=before)
    line("watertight", f"calendar {calendar_id} is released")


def sync(
    job: Annotated[JobName, typer.Argument(metavar="JOB", help=f"One of: {', '.join(JobName)}.")],
    calendar: Annotated[int | None, typer.Option(metavar="ID", help="Only this one; see calendars list.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would propose; write nothing.")] = False,  # noqa: FBT002
    json: AsJson = False,  # noqa: FBT002 - a command-line flag
) -> None:
    """Run one job by hand, now, in this process."""
    connected = runtime()
    chosen = [CalendarId(row.id) for row in read_calendars() if calendar in {None, row.id}]
    if not chosen:
        message = (
            f"no calendar {calendar}" if calendar is not None else "no calendars yet: watertight agents import FILE"
        )
        raise NotFound(message)
    rows = run_by_hand(connected, job, chosen, preview=dry_run)
    show(rows, as_json=json)
    if any(row["error"] for row in rows):
        raise typer.Exit(1)


def doctor(json: AsJson = False) -> None:  # noqa: FBT002 - a command-line flag
    """Try every connected account for real: token, permission, calendar, clock, webhooks. Exit code 1 if one is ill."""
    connected = runtime()
    findings = list(examine(connected.settings, connected.sessions))
    show([finding.as_row() for finding in findings], as_json=json)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
