"""What ``docs/runbook.md`` says about a code, as somebody who was woken reads it: the heading, and the command to paste. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

ENTRY = r"^## {code}\n+\*\*(?P<title>[^*]+?)\.?\*\*(?P<rest>.*?)(?=^## |\Z)"
COMMANDS = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Advice:
    """An entry of the runbook, in short."""

    code: str
    title: str
    command: str


def read_advice(runbook: str, code: str) -> Advice:
    """The entry of this code.

    Raises:
        LookupError: the runbook has none, or none that names a command.
    """
    entry = re.search(ENTRY.format(code=re.escape(code)), runbook, re.MULTILINE | re.DOTALL)
    commands = COMMANDS.search(entry["rest"]) if entry else None
    if entry is None or commands is None:
        raise LookupError(f"the runbook has no entry with a command for {code}")
    return Advice(code, entry["title"], commands[1].splitlines()[0])
