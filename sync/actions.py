"""What people do to the running system, kept with who and how it was before: the audit of operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import Session

from models.operations import Action

Via = Literal["cli", "console"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, and through what: a name of the operating system, or of a user of the console."""

    who: str
    via: Via

    def __str__(self) -> str:
        return f"{self.who} ({self.via})"


def record_action(
    session: Session,
    actor: Actor,
    what: str,
    *,
    about: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Keep it, in the transaction that does it. ``what`` is ``schedule.pause``; ids and settings only, no names (P12)."""
    session.add(Action(who=actor.who, via=actor.via, what=what, about=about, before=before, after=after))
