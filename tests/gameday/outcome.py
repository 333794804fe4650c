"""What came of a game day, drill by drill: a table for the terminal, Markdown for the docs, figures as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from tests.gameday.runbook import Advice


@dataclass(frozen=True, slots=True)
class Told:
    """An alert of a drill: seconds from the fault to its first message, and from the mending to its "over" (None: never)."""

    code: str
    where: str
    severity: str
    after: float
    over_after: float | None
    expected: bool

    @property
    def name(self) -> str:
        return f"{self.code} ({self.where})" if self.where else self.code


@dataclass(frozen=True, slots=True)
class Outcome:
    """One drill. ``fault_seconds`` is how long it lasted, ``by_hand`` what was done beside ending it, ``broken`` every promise."""

    name: str
    fault: str
    fault_seconds: float
    told: Sequence[Told]
    missing: Sequence[str]
    advice: Sequence[Advice]
    by_hand: str
    quiet_seconds: float
    broken: Sequence[str]

    @property
    def passed(self) -> bool:
        """It alerted what it must, that was resolved, nothing else stayed open, and every promise was kept."""
        return not self.missing and not self.broken and all(one.over_after is not None for one in self.told)

    @property
    def verdict(self) -> str:
        complaints = [f"no alert {code}" for code in self.missing]
        complaints += [f"{one.name} was never resolved" for one in self.told if one.over_after is None]
        return "; ".join([*complaints, *self.broken]) or "clean"

    def cells(self) -> tuple[str, ...]:
        """As people read it, in the order of ``HEADS``."""
        return (
            f"{self.name}: {self.fault}, {self.fault_seconds:.0f} s",
            "\n".join(
                f"{one.severity} {one.name} after {one.after:.0f} s{'' if one.expected else ', besides'}"
                for one in self.told
            )
            or "nothing",
            "\n".join(f"{one.title}: {one.command}" for one in self.advice),
            self.by_hand or "nothing",
            "\n".join(f"{one.name} {_seconds(one.over_after)}" for one in self.told),
            f"{self.quiet_seconds:.0f} s",
            self.verdict,
        )


HEADS = (
    "fault, and how long",
    "told (after the fault)",
    "runbook: its title, its first command",
    "done by hand",
    "over (after the end)",
    "at rest",
    "verdict",
)


def table_of(outcomes: Sequence[Outcome]) -> Table:
    table = Table(*HEADS, title="a game day", show_lines=True)
    for one in outcomes:
        table.add_row(*(cell.replace("[", r"\[") for cell in one.cells()))
    return table


def markdown_of(outcomes: Sequence[Outcome]) -> str:
    """The same table for the docs."""
    rows = [HEADS, ("---",) * len(HEADS), *(one.cells() for one in outcomes)]
    lines = ["| " + " | ".join(cell.replace("|", r"\|").replace("\n", "<br>") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def figures_of(outcomes: Sequence[Outcome], *, settings: dict[str, Any]) -> dict[str, Any]:
    drills = [asdict(one) | {"passed": one.passed, "verdict": one.verdict} for one in outcomes]
    return {"settings": settings, "drills": drills, "passed": all(one.passed for one in outcomes)}


def _seconds(length: float | None) -> str:
    return "never" if length is None else f"{length:.0f} s"
