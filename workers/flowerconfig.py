"""Flower reads this file as its settings (``--conf``): how a task is shown to people, who need not read Python."""

from __future__ import annotations

import ast
import re
from typing import Any

# What runs answer, said at more length: there is room for it here.
SENTENCES = (
    (r"(full read|read) of (\d+), (\d+) proposed", r"\1: \2 seen, \3 proposed"),
    (r"(\d+) calendars", r"sent to \1 calendars"),
    (r"(\d+) of (\d+) resumed", r"woke \1 of \2 that were due"),
    (r"accepted: accepted", r"accepted"),
    (r"accepted: (.+)", r"accepted (\1)"),
)


def format_task(task: Any) -> Any:  # noqa: ANN401 - Flower's own record of a task
    """Arguments and result as sentences, and the error of a failed run where its result would be.

    What does not look like ours stays as it is.
    """
    task.args = _sentence(task.args)
    task.result = task.exception if task.state in {"FAILURE", "RETRY"} and task.exception else _said(task.result)
    return task


def _said(text: Any) -> Any:  # noqa: ANN401 - whatever Flower was told
    """A text without its quotes, as a sentence."""
    value = _literal(text)
    if not isinstance(value, str):
        return text
    for pattern, sentence in SENTENCES:
        value = re.sub(f"^{pattern}", sentence, value)
    return value


def _sentence(text: Any) -> Any:  # noqa: ANN401 - whatever Flower was told
    """``(7, 'dana', 'google mirror')`` is about dana; ``('proposal:3', 'dana via google mirror')`` about proposal 3."""
    match _literal(text):
        case (int(number), str(agent), str(calendar)):
            return f"{agent}, {calendar} (calendar {number})"
        case (str(reference), *about):
            return ", ".join(map(str, [reference, *about])).replace(":", " ")
        case ():
            return ""
        case _:
            return text


def _literal(text: object) -> object:
    try:
        return ast.literal_eval(text) if isinstance(text, str) else None
    except (ValueError, SyntaxError):
        return None
