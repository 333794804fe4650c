"""How commands show rows: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from models.queries import ProposalRecord

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """All rows have the same keys, which become the columns."""
    if as_json:
        _print_json(rows)
        return
    if not rows:
        Console().print("nothing")
        return
    table = Table(*rows[0].keys(), box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console().print(table)


def show_story(story: ProposalRecord, *, as_json: bool) -> None:
    """One proposal from wish to decision."""
    if as_json:
        _print_json(asdict(story))
        return
    console = Console(highlight=False)
    console.print(
        f"[bold]Proposal {story.id}[/]: {story.kind} for {story.agent}, from {story.calendar or story.origin}"
    )
    if story.starts_at and story.ends_at:
        console.print(f"  wants    {_cell(story.starts_at)} to {_cell(story.ends_at)}")
    console.print(f"  made     {_cell(story.created_at)}")
    verdict = {True: "accepted", False: "refused", None: "not decided"}[story.accepted]
    console.print(f"  decided  {_cell(story.decided_at) or '-'}: [bold]{verdict}[/] ({story.reason or story.state})")
    for key, value in story.evidence.items():
        console.print(f"  evidence {key}: {_cell(value)}", markup=False)
    for write in story.writes:
        console.print(
            f"  write    {', '.join(f'{key} {_cell(value)}' for key, value in write.items() if value is not None)}",
            markup=False,
        )


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
    return "" if value is None else str(value)
