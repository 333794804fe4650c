"""How commands show rows: a table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.history import Change, PastCalendar
from models.listings import CalendarRecord, PushRecord
from models.queries import ProposalRecord
from sync.domain import Job
from sync.errors import Malformed

PIPED_WIDTH = 240

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """All rows have the same keys, which become the columns."""
    if as_json:
        _print_json(rows)
        return
    if not rows:
        _console().print("none")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    _console().print(table)


def show_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: a line for each of its values."""
    if as_json:
        _print_json(record)
        return
    width = max(len(name) for name in record) + 2
    for name, value in record.items():
        for number, text in enumerate(value if isinstance(value, list) and value else [value]):
            label = name.replace("_", " ") if number == 0 else ""
            _console().print(f"{label:<{width}}{_cell(text)}", markup=False)


def show_calendars(found: Sequence[CalendarRecord], *, as_json: bool) -> None:
    """For people one column a job, with the age of its last read."""
    if as_json:
        _print_json([asdict(calendar) for calendar in found])
        return
    now = datetime.now(UTC)
    rows = [
        {
            "id": calendar.id,
            "agent": calendar.agent,
            "role": calendar.role,
            "provider": calendar.provider,
            "remote": calendar.remote,
            "events": calendar.events,
            **{f"{job} read": _age(calendar.read_at.get(job), now=now) for job in Job},
            **_push(calendar.push, now=now),
            "stopped": calendar.stopped_code or _put_off(calendar, now=now) or "-",
        }
        for calendar in found
    ]
    show(rows, as_json=False)


def _push(push: PushRecord | None, *, now: datetime) -> dict[str, object]:
    """How we hear of changes: pushed by the vendor, or by asking; until when; the last hint; and the oldest one waiting."""
    if push is None:
        return {"by": "poll", "until": "-", "last hint": "-", "lag": "-"}
    return {
        "by": "push" if push.healthy else f"poll ({push.trouble or 'no channel'})",
        "until": f"{push.expires_at:%m-%d %H:%MZ}" if push.expires_at else "-",
        "last hint": _age(push.last_hint_at, now=now) if push.last_hint_at else "-",
        "lag": f"{push.lag:.0f} s" if push.lag is not None else "-",
    }


def _put_off(calendar: CalendarRecord, *, now: datetime) -> str:
    """Which jobs leave it alone because they kept failing, and until when."""
    later = {job: until for job, until in calendar.put_off.items() if until > now}
    return ", ".join(f"{job} failing, next try {until:%H:%MZ}" for job, until in sorted(later.items()))


def _age(instant: datetime | None, *, now: datetime) -> str:
    if instant is None:
        return "never"
    seconds = max(0, round((now - instant).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def _console() -> Console:
    """As wide as the terminal; into a file or a pipe, wide enough to break no line."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=PIPED_WIDTH if piped else None, highlight=False, soft_wrap=False)


def read_instant(value: str) -> datetime:
    """What a person typed.

    Raises:
        Malformed: not an instant, or one without offset.
    """
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise Malformed("at", f"{value!r} is not an instant such as 2027-03-08T15:00:00Z") from None
    if instant.utcoffset() is None:
        raise Malformed("at", "has neither zone nor offset")
    return instant


def show_past(past: PastCalendar, *, as_json: bool) -> None:
    """Appointments, and time that was held for somebody."""
    if as_json:
        _print_json(asdict(past))
        return
    rows = [
        {
            "from": one.starts_at,
            "to": one.ends_at,
            "what": f"appointment {one.id}",
            "version": one.version,
            "title": one.title,
        }
        for one in past.appointments
    ]
    rows += [
        {"from": one.starts_at, "to": one.ends_at, "what": f"slot {one.id} held", "version": one.version, "title": ""}
        for one in past.slots
        if one.state == "held"
    ]
    show(sorted(rows, key=lambda row: str(row["from"])), as_json=False)


def show_story(story: ProposalRecord, changes: Sequence[Change], *, as_json: bool) -> None:
    """One proposal from wish to decision, and what it changed."""
    if as_json:
        _print_json({**asdict(story), "changes": [asdict(change) for change in changes]})
        return
    console = _console()
    console.print(
        f"Proposal {story.id}: {story.kind} for {story.agent}, from {story.calendar or story.origin}", markup=False
    )
    if story.starts_at and story.ends_at:
        console.print(f"  wants    {_cell(story.starts_at)} to {_cell(story.ends_at)}")
    console.print(f"  made     {_cell(story.created_at)}")
    console.print(f"  decided  {_verdict(story)}")
    for key, value in story.evidence.items():
        console.print(f"  evidence {key}: {_cell(value)}", markup=False)
    for write in story.writes:
        console.print(
            f"  write    {_write(write)}",
            markup=False,
        )
    for change in changes:
        console.print(f"  change   {_change(change)}", markup=False)


def _change(change: Change) -> str:
    """What was, and what is: only what differs."""
    names = [name for name in change.after if name != "id"]
    differs = ", ".join(f"{name} {_cell(change.before.get(name))} → {_cell(change.after[name])}" for name in names)
    return f"{_cell(change.at)} {change.subject} {change.subject_id} for {change.actor}: {differs}"


def _verdict(story: ProposalRecord) -> str:
    if story.accepted is None:
        return f"not yet ({story.state})"
    return f"{_cell(story.decided_at)}: {'accepted' if story.accepted else 'refused'} ({story.reason or story.state})"


def _write(write: Mapping[str, Any]) -> str:
    """One line that says what was done where, and how it went."""
    tries = "" if write["attempt"] <= 1 else f" after {write['attempt']} attempts"
    trouble = f", last error {write['last_error_code']}" if write["last_error_code"] else ""
    when = f" at {write['finished_at'][:19].replace('T', ' ')}Z" if write["finished_at"] else ""
    return f"{write['action']} on {write['calendar']}: {write['state']}{when}{tries}{trouble} (write {write['id']})"


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, default=_plain, indent=2) + "\n")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(_cell(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == "" else str(value)
