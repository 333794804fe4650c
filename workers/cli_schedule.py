"""The commands about the schedule: when beat runs what, and who changed it."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated

import typer

from models.session import transaction
from sync.errors import NotFound
from sync.schedule import ScheduledJob, list_changes, list_jobs, pause, reset, resume, set_period
from workers.listing import AsJson, show
from workers.periods import WITHOUT, default_periods
from workers.settings import load
from workers.terminal import line, operator, runtime

UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
DURATION = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(UNITS)})")

schedule = typer.Typer(
    help="When beat runs what. Beat follows a change within seconds, and after a restart.", no_args_is_help=True
)


def read_seconds(text: str) -> float:
    """What a person typed, in seconds.

    Raises:
        typer.BadParameter: neither a number of seconds nor one with a unit.
    """
    found = DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time such as 30, 30s, 5m or 1h")
    return float(found[1]) * UNITS[found[2]]


Name = Annotated[str, typer.Argument(metavar="NAME", help="Which job; see schedule list.")]
Every = Annotated[float, typer.Argument(metavar="SECONDS", parser=read_seconds, help="Or 30s, 5m, 1h.")]


@schedule.command("list")
def list_all(json: AsJson = False) -> None:  # noqa: FBT002 - a command-line flag
    """Every job: how often, whether it is paused, when it was fired and when it last ran, what is next, who changed it."""
    with transaction(runtime().sessions) as session:
        jobs = list_jobs(session)
    show([_plain(job) if json else _readable(job) for job in jobs], as_json=json)


@schedule.command("set")
def set_every(name: Name, every: Every) -> None:
    """Change how often a job runs: from half a second to a day. Runs are anchored to the clock, so that none drifts."""
    with transaction(runtime().sessions) as session:
        job = set_period(session, name, every=every, by=operator())
    line("watertight", f"{name} runs every {job.every:g} s{'' if job.enabled else ' once it is resumed'}")


@schedule.command("pause")
def pause_job(name: Name) -> None:
    """Stop firing a job, until it is resumed. What is under way goes on."""
    with transaction(runtime().sessions) as session:
        pause(session, name, by=operator())
    line("watertight", f"{name} is paused; until `watertight schedule resume {name}`:")
    line("watertight", WITHOUT.get(name, "nothing of it happens"))


@schedule.command("resume")
def resume_job(name: Name) -> None:
    """Fire a paused job again. All that it missed is made up for by one run, at once."""
    with transaction(runtime().sessions) as session:
        job = resume(session, name, by=operator())
    line("watertight", f"{name} runs every {job.every:g} s")


@schedule.command("reset")
def reset_job(name: Name) -> None:
    """Undo what people changed: the job follows the settings (WATERTIGHT_*_EVERY) again, and is not paused."""
    default = default_periods(load()).get(name)
    with transaction(runtime().sessions) as session:
        if default is None:
            known = ", ".join(job.name for job in list_jobs(session))
            raise NotFound(f"no job {name!r} in the settings; known: {known or 'none until beat has started once'}")
        job = reset(session, name, every=default, by=operator())
    line("watertight", f"{name} follows the settings: every {job.every:g} s")


@schedule.command("history")
def show_changes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of this job only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
    json: AsJson = False,  # noqa: FBT002 - a command-line flag
) -> None:
    """Who changed the schedule, when, from what to what; newest first."""
    with transaction(runtime().sessions) as session:
        changes = [asdict(change) for change in list_changes(session, name=name, limit=limit)]
    show(changes, as_json=json)


def _plain(job: ScheduledJob) -> dict[str, object]:
    found = asdict(job)
    return {"name": found.pop("name"), "every_seconds": found.pop("every"), **found}


def _readable(job: ScheduledJob) -> dict[str, object]:
    return {
        "name": job.name,
        "every": f"{job.every:g} s",
        "state": "runs" if job.enabled else "paused",
        "last slot": job.last_slot or "never",
        "last run": job.ran_at or "never",
        "next slot": job.next_slot if job.enabled else "-",
        "changed by": job.changed_by,
    }
