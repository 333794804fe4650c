"""The commands about runs that gave up: list, show one with every try, and have them run again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from models.letters import DeadLetterRecord, find_dead_letter, list_dead_letters
from models.session import transaction
from sync.catalogue import entry_of
from sync.errors import NotFound
from workers.listing import AsJson, show, show_record
from workers.replay import carry_out, plan_replay
from workers.terminal import line, operator, runtime

BIGGEST = 2**63 - 1  # of a bigint

failures = typer.Typer(help="Runs that gave up (dead letters), and having them run again.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(metavar="ID", min=1, max=BIGGEST, help="See failures list.")]


@failures.command("list")
def list_failures(
    closed: Annotated[bool, typer.Option("--all", help="Also those that were replayed or solved.")] = False,  # noqa: FBT002
    json: AsJson = False,  # noqa: FBT002 - a command-line flag
) -> None:
    """Open dead letters, newest first."""
    with transaction(runtime().sessions) as session:
        letters = list_dead_letters(session, closed=closed)
    if json:
        show([asdict(letter) for letter in letters], as_json=True)
        return
    show([_row(letter) | ({"state": letter.state} if closed else {}) for letter in letters], as_json=False)


@failures.command("show")
def show_failure(failure: Id, json: AsJson = False) -> None:  # noqa: FBT002 - a command-line flag
    """One dead letter: what was tried when, what it was answered, and what to do about it."""
    connected = runtime()
    with transaction(connected.sessions) as session:
        letter = find_dead_letter(session, failure)
    if letter is None:
        raise NotFound(f"no dead letter {failure}")
    entry = entry_of(letter.code)
    help_ = {
        "happened": entry.happened,
        "by_itself": entry.by_itself,
        "do": entry.do,
        "commands": list(entry.fill(_detail(letter))),
        "runbook": f"{connected.settings.runbook_url}#{letter.code}",
    }
    tries = [f"{one.failed_at:%m-%d %H:%M:%SZ} try {one.number}: {one.code}: {one.excerpt}" for one in letter.tries]
    shown: dict[str, Any] = asdict(letter) | ({} if json else {"tries": tries}) | help_
    show_record(shown, as_json=json)


@failures.command("replay")
def replay(
    failures: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", min=1, max=BIGGEST, help="See failures list.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every open one.")] = False,  # noqa: FBT002
    code: Annotated[str | None, typer.Option(metavar="CODE", help="Every open one with this code.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would do; change nothing.")] = False,  # noqa: FBT002
    json: AsJson = False,  # noqa: FBT002 - a command-line flag
) -> None:
    """Have runs that gave up run again, after what was wrong has been put right. Safe to repeat: twice is once."""
    if sum((bool(failures), every, code is not None)) != 1:
        raise typer.BadParameter("name either dead letters by ID, or --code CODE, or --all", param_hint="ID")
    sessions = runtime().sessions
    with transaction(sessions) as session:
        plan = plan_replay(session, ids=failures or None, code=code)
    if dry_run:
        show([{"id": one.id, "code": one.code, "would": one.sentence} for one in plan], as_json=json)
        return
    done = carry_out(sessions, plan, by=operator())
    show([asdict(one) for one in done], as_json=json)
    if not json:
        line("watertight", f"{sum(one.done for one in done)} of {len(failures or plan)} replayed")
    if not all(one.done for one in done):
        raise typer.Exit(1)


def _row(letter: DeadLetterRecord) -> dict[str, object]:
    about = f"{letter.agent} {letter.calendar}" if letter.agent else "-"
    return {
        "id": letter.id,
        "last_seen": letter.last_seen,
        "task": letter.task,
        "reference": letter.reference,
        "about": about,
        "code": letter.code,
        "tries": letter.attempts,
        "times": letter.times,
        "excerpt": letter.excerpt,
    }


def _detail(letter: DeadLetterRecord) -> dict[str, Any]:
    """What the commands to paste are filled with."""
    detail = {"failure": letter.id, "code": letter.code, "reference": letter.reference}
    return detail | ({} if letter.calendar_id is None else {"calendar": letter.calendar_id})
