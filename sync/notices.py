"""The words of a message to people. Pure; ids, slugs and figures only (P12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sync.catalogue import entry_of
from sync.entry import Severity
from sync.incidents import What

SHOWN = 8

WORDS: dict[What, str] = {
    "opened": "",
    "grown": "more of it: ",
    "escalated": "it lasts: ",
    "reminded": "still: ",
    "resolved": "over: ",
}


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a message is about. ``where`` names the vendor or the task, ``affected`` each alert in a few words.

    ``detail`` is that of the newest alert: it fills the commands. ``runbook`` is the address of the document. ``ended_at`` is
    when it worked again, for a message that says so.
    """

    what: What
    code: str
    severity: Severity
    count: int
    opened_at: datetime
    now: datetime
    where: str
    affected: Sequence[str]
    detail: Mapping[str, Any]
    runbook: str
    ended_at: datetime | None = None


def compose_title(occasion: Occasion) -> str:
    """One line: how bad, whether it is new, what, where, how many."""
    label = "resolved" if occasion.what == "resolved" else occasion.severity
    where = f" ({occasion.where})" if occasion.where else ""
    many = f", {occasion.count} at once" if occasion.count > 1 else ""
    return f"[{label}] {WORDS[occasion.what]}{entry_of(occasion.code).title}{where}{many}"


def compose_body(occasion: Occasion) -> str:
    """What happened, who is affected, what the system does by itself, what you can do, and where more is written."""
    parts = _over(occasion) if occasion.what == "resolved" else _lasting(occasion)
    return "\n\n".join([*parts, f"Runbook: {occasion.runbook}#{occasion.code}"])


def _lasting(occasion: Occasion) -> list[str]:
    entry = entry_of(occasion.code)
    since = f"{_moment(occasion.opened_at)} UTC, {_span(occasion.now - occasion.opened_at)} ago"
    do = "\n".join([f"What you can do: {entry.do}", *(f"    {one}" for one in entry.fill(occasion.detail))])
    return [
        f"What happened: {entry.happened}",
        f"Since: {since}",
        *_where(occasion),
        f"Who is affected: {entry.affected}",
        f"What the system does by itself: {entry.by_itself}",
        do,
    ]


def _over(occasion: Occasion) -> list[str]:
    """Whoever was woken reads first that they may go back to sleep."""
    ended = occasion.ended_at or occasion.now
    length = _span(ended - occasion.opened_at)
    lasted = f"It lasted {length}, from {_moment(occasion.opened_at)} to {_moment(ended)} UTC."
    return [
        f"It is over, and nothing is to be done. {lasted}",
        f"What had happened: {entry_of(occasion.code).happened}",
        *_where(occasion),
        "What gave up meanwhile, if anything: watertight failures list",
    ]


def _where(occasion: Occasion) -> list[str]:
    return [f"Where: {_listed(occasion)}"] if occasion.affected else []


def _moment(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}"


def _listed(occasion: Occasion) -> str:
    more = occasion.count - min(len(occasion.affected), SHOWN)
    return "; ".join([*occasion.affected[:SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _span(length: timedelta) -> str:
    seconds = max(0, round(length.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
