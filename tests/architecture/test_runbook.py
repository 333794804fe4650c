"""Whoever is woken finds every code in the runbook, and nothing there that is not so any more (P11)."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from sync.catalogue import CATALOGUE
from sync.entry import PLACEHOLDER, Entry
from sync.errors import WatertightError
from workers.cli import app
from workers.over import tree

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
PARTS = re.split(r"^## (\w+)$", RUNBOOK, flags=re.MULTILINE)
ENTRIES = dict(zip(PARTS[1::2], PARTS[2::2], strict=True))
COMMAND = re.compile(r"^watertight .+$", re.MULTILINE)
PROGRAM: Any = typer.main.get_command(app)


def sources() -> list[Path]:
    return [path for package in ("workers", "sync") for path in (ROOT / package).rglob("*.py")]


def alert_codes() -> set[str]:
    """Every code that an alert is opened or an alarm raised with, as far as it is written out."""
    found = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"open_alert", "Alarm"}:
                given = [keyword.value for keyword in node.keywords if keyword.arg == "code"] or node.args[1:2]
                found |= {str(value.value) for value in given if isinstance(value, ast.Constant)}
    return found


def written() -> set[str]:
    """Every text in the code, outside of what describes the codes."""
    describing = {"vendor_entries.py", "own_entries.py"}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sources() if path.name not in describing]
    nodes = (node for tree_ in trees for node in ast.walk(tree_))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_code_has_an_entry() -> None:
    codes = {error.code for error in tree(WatertightError)} | alert_codes() | {"bug"}
    assert len(codes) > 25
    assert codes - CATALOGUE.keys() == set()
    assert ENTRIES.keys() == CATALOGUE.keys()


def test_no_entry_is_about_something_that_cannot_happen() -> None:
    assert CATALOGUE.keys() - written() == set()


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_the_runbook_says_what_the_alert_says(code: str) -> None:
    entry, text = CATALOGUE[code], ENTRIES[code]
    assert f"**{entry.title}.** Severity: {entry.severity}{lasting(entry)}." in text
    for said in (entry.happened, entry.affected, entry.by_itself, entry.do):
        assert said in text
    assert COMMAND.findall(text) == [shown(command, code) for command in entry.commands]


def lasting(entry: Entry) -> str:
    if entry.escalates_after is None:
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if entry.escalates_after >= size:
            return f"; critical when it lasts for {entry.escalates_after / size:g} {unit}"
    raise AssertionError(entry)


def shown(command: str, code: str) -> str:
    return PLACEHOLDER.sub(lambda match: code if match[1] == "code" else match[1].upper(), command)


def commands() -> Iterator[str]:
    yield from {command for entry in CATALOGUE.values() for command in entry.fill({"code": entry.code})}
    yield from re.findall(r"^    (watertight .+)$", RUNBOOK, flags=re.MULTILINE)
    yield from re.findall(r"`(watertight [^`]+)`", RUNBOOK)


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_can_be_pasted(command: str) -> None:
    """With a number, or the name of a job, in the place of each word in capitals."""
    words = [
        "NewAppointmentSync" if word == "JOB" else "7" if word.isupper() else word for word in shlex.split(command)
    ]
    parse(PROGRAM, words[1:], name=words[0])


def parse(command: Any, words: list[str], *, name: str) -> None:  # noqa: ANN401 - Typer brings a click of its own
    """As far as typing it would go before anything is done."""
    context = command.make_context(name, list(words), resilient_parsing=False)
    if hasattr(command, "resolve_command"):
        found, chosen, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert chosen is not None
        parse(chosen, rest, name=str(found))


def test_each_says_when_it_becomes_critical_or_is_so_at_once() -> None:
    assert CATALOGUE["master_check_bypassed"].severity == "critical"
    assert {entry.folds_into for entry in CATALOGUE.values()} - {None} <= CATALOGUE.keys()
    assert [entry.code for entry in CATALOGUE.values() if entry.severity == "critical" and entry.escalates_after] == []
