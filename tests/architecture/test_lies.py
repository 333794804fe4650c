"""docs/lies.md tells no lies: every row has its test, and every fault is one that an emulator knows."""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| ([\w.]+) \| .+? \| .+? \| ([^|]+) \| `(test_lie_\w+…?)` \| [^|]+ \|$", re.MULTILINE)
FOLDERS = {"Graph": "outlook", "Google": "google", "HubSpot": "hubspot", "Cal.com": "calcom"}
STRANGERS = {"Calendly"}  # not connected, so that there is nothing to test
WITHOUT_FAULT = {"always", "never asked"}


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    vendor: str
    fault: str
    test: str

    @property
    def faults(self) -> list[str]:
        return re.findall(r"`(\w+)`", self.fault)

    @property
    def is_ours(self) -> bool:
        return self.vendor not in STRANGERS


def rows() -> list[Row]:
    text = (ROOT / "docs" / "lies.md").read_text(encoding="utf-8")
    return [Row(int(number), *rest) for number, *rest in ROW.findall(text)]


def known_faults(vendor: str) -> set[str]:
    """Every word in the code of the vendor's emulator and of what all emulators share; their docstrings do not count."""
    providers = ROOT / "providers"
    files = [*providers.glob("emulat*.py"), *(providers / FOLDERS[vendor]).glob("emulat*.py")]
    files = [file for file in files if file.name != "emulated_badday.py"]  # which names faults and knows none
    return {
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def defined_tests() -> set[str]:
    files = (ROOT / "tests" / "contract").glob("test_lies*.py")
    return {name for file in files for name in re.findall(r"def (test_lie_\w+)", file.read_text(encoding="utf-8"))}


def test_no_row_is_missing() -> None:
    assert [row.number for row in rows()] == list(range(1, 49))


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row.number))
def test_every_row_has_its_test(row: Row) -> None:
    assert row.test.startswith(f"test_lie_{row.number:02}_")
    assert (row.test in defined_tests()) is row.is_ours, row.test


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row.number))
def test_every_fault_is_one_that_its_emulator_knows(row: Row) -> None:
    assert bool(row.faults) is not (row.fault in WITHOUT_FAULT), row.fault
    if row.is_ours:
        assert set(row.faults) <= known_faults(row.vendor)
    else:
        assert row.fault == "never asked"


@pytest.mark.parametrize("vendor", [vendor for vendor, folder in FOLDERS.items() if folder != "calendly"])
def test_a_bad_day_is_made_of_faults_that_its_emulator_knows(vendor: str) -> None:
    drawn = importlib.import_module(f"providers.{FOLDERS[vendor]}.emulated_badday").KINDS
    assert {kind.name for kind in drawn} - known_faults(vendor) == set()


def test_every_test_of_a_lie_stands_in_the_table() -> None:
    assert defined_tests() - {row.test for row in rows()} == set()
