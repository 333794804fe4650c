"""Each import contract is broken once on a copy of the packages, and must notice: a contract that cannot fail holds nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("workers", "providers", "sync", "models")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
CONTRACTS: dict[str, dict[str, Any]] = {contract["id"]: contract for contract in SETTINGS["contracts"]}
FORBIDDING = [name for name, contract in CONTRACTS.items() if contract["type"] == "forbidden"]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
LINT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Seed:
    """Imports that break one contract and no other. ``importer -> imported``; a missing module is made, empty."""

    contract: str
    imports: tuple[str, ...]


def seed(contract: str, *imports: str) -> Seed:
    return Seed(contract, imports)


SEEDS = [
    seed("layers", "models.seeded -> sync.leaf"),
    seed("layers", "sync.seeded -> providers.leaf"),
    seed("layers", "providers.seeded -> workers.leaf"),
    seed("layers", "models.seeded -> workers.leaf"),
    seed("providers-no-database", "providers.seeded -> sqlalchemy"),
    seed("providers-no-database", "providers.outlook.seeded -> models.leaf"),
    seed("providers-no-database", "providers.seeded -> sync.seeded", "sync.seeded -> models.leaf"),
    seed("pure", "sync.changes -> requests"),
    seed("pure", "sync.retry -> sync.seeded", "sync.seeded -> redis"),
    seed("frameworks", "sync.seeded -> celery"),
    seed("frameworks", "providers.google.seeded -> fastapi"),
    seed("frameworks", "models.seeded -> typer"),
    seed("ledger", "sync.seeded -> models.ledger"),
    seed("ledger", "models.seeded -> models.ledger"),
    seed("ledger", "workers.seeded -> models.ledger"),
    seed("commit", "workers.seeded -> sync.commit"),
    seed("commit", "sync.seeded -> sync.commit"),
    seed("independence", "providers.outlook.seeded -> providers.google.leaf"),
    seed("independence", "providers.google.seeded -> providers.leaf", "providers.leaf -> providers.outlook.leaf"),
    seed("emulators", "workers.seeded -> providers.outlook.emulator"),
    seed("emulators", "providers.google.seeded -> providers.google.emulator"),
    seed("emulators", "providers.outlook.seeded -> providers.emulation"),
    seed("products", "sync.seeded -> msal"),
    seed("products", "workers.seeded -> google.auth"),
    seed("cycles", "sync.seeded -> sync.leaf", "sync.leaf -> sync.seeded"),
    seed("cycles", "workers.web.seeded -> workers.web.leaf", "workers.web.leaf -> workers.web.seeded"),
    seed("cycles", "providers.outlook.seeded -> providers.seeded", "providers.seeded -> providers.outlook.leaf"),
]

PERMITTED = (
    "sync.commit -> models.ledger",
    "models.queries -> models.ledger",
    "models.migrations.seeded -> models.ledger",
    "workers.commit -> sync.commit",
    "workers.emulate -> providers.outlook.emulator",
    "workers.emulate -> providers.emulation",
    "providers.google.emulator -> providers.emulation",
    "providers.google.emulator -> fastapi",
    "providers.emulation -> starlette",
    "providers.outlook.seeded -> msal",
    "workers.seeded -> models.leaf",
    "workers.seeded -> celery",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages as they are, with an empty module where a contract names one that is not written yet."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module in named_modules():
        ensure(tmp_path, module)
    return tmp_path


def named_modules() -> list[str]:
    keys = ("source_modules", "forbidden_modules", "modules", "protected_modules", "allowed_importers", "layers")
    names = [name for contract in CONTRACTS.values() for key in keys for name in contract.get(key, [])]
    return [name for name in names if is_ours(name) and "*" not in name]


def is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in PACKAGES


def ensure(tree: Path, module: str) -> Path:
    """The file of a module, made if there is none."""
    path = tree.joinpath(*module.split("."))
    if path.is_dir():
        return path / "__init__.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_suffix(".py")
    file.touch()
    return file


def plant(tree: Path, imports: tuple[str, ...]) -> None:
    for line in imports:
        importer, imported = line.split(" -> ")
        if is_ours(imported):
            ensure(tree, imported)
        with ensure(tree, importer).open("a", encoding="utf-8") as source:
            source.write(f"\nimport {imported}\n")


def lint(tree: Path) -> str:
    # Wide and plain, so that no name is wrapped; no PYTHONPATH, so that the copy is what is read.
    environment = {**os.environ, "COLUMNS": "400", "TERM": "dumb", "NO_COLOR": "1"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-c", LINT, "--no-cache", "--no-logo"]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LINT_SECONDS, check=False
    )
    report = done.stdout + done.stderr
    assert "Contracts: " in report, report
    return report


def broken(report: str) -> set[str]:
    verdicts = {name: f"{contract['name']} BROKEN" in report for name, contract in CONTRACTS.items()}
    return {name for name, is_broken in verdicts.items() if is_broken}


@pytest.mark.parametrize("planted", SEEDS, ids=lambda planted: f"{planted.contract}: {', '.join(planted.imports)}")
def test_a_seeded_violation_breaks_its_contract_and_no_other(copy: Path, planted: Seed) -> None:
    plant(copy, planted.imports)
    report = lint(copy)
    assert broken(report) == {planted.contract}, report


@pytest.mark.parametrize("contract", FORBIDDING)
def test_every_name_of_a_forbidding_contract_bites(copy: Path, contract: str) -> None:
    sources, forbidden = CONTRACTS[contract]["source_modules"], CONTRACTS[contract]["forbidden_modules"]
    importers = [source if "." in source else f"{source}.seeded" for source in sources]
    names = [f"{name}.leaf" if name in PACKAGES else name for name in forbidden]
    links = tuple(f"{importer} -> {name}" for importer in importers for name in names)
    plant(copy, links)
    report = lint(copy)
    section = report.split("Broken contracts", 1)[1].split(f"\n{CONTRACTS[contract]['name']}\n", 1)[1]
    assert [link for link in links if f"{link} (l." not in section] == []


def test_the_packages_as_they_are_keep_every_contract(copy: Path) -> None:
    report = lint(copy)
    assert broken(report) == set(), report
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken" in report


def test_what_the_design_permits_breaks_nothing(copy: Path) -> None:
    plant(copy, PERMITTED)
    report = lint(copy)
    assert broken(report) == set(), report


def test_every_contract_has_a_seed() -> None:
    assert {planted.contract for planted in SEEDS} == set(CONTRACTS)


def test_every_provider_is_held_independent() -> None:
    packages = {f"providers.{path.parent.name}" for path in (ROOT / "providers").glob("*/__init__.py")}
    assert packages == set(CONTRACTS["independence"]["modules"])
