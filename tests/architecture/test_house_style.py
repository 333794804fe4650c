"""The house style where a linter has no rule for it (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("workers", "providers", "sync", "models")
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 40
MAX_MEDIAN_LINES = 6
MAX_P90_LINES = 20
LONG_MODULES: dict[str, str] = {}  # path: why it may be longer
PRODUCT = re.compile(r"(?<![a-z])(?:outlook|google|graph|hubspot|calcom)(?![a-z])", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.}/-])/(?:root|home|Users|work)/\w|/opt/(?:wheels|pypi)")
RULE = re.compile(r'"([A-Z]{1,4}\d{0,4})"')

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def without_migrations(paths: list[Path]) -> list[Path]:
    return [path for path in paths if "migrations" not in path.parts]


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(paths: list[Path]) -> Iterator[tuple[str, int]]:
    for path in paths:
        for node in ast.walk(parse(path)):
            if isinstance(node, Function):
                yield f"{shown(path)}:{node.lineno} {node.name}", body_lines(node)


def body_lines(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1 if body else 0


def words(tree: ast.AST) -> Iterator[str]:
    """Every name and every text of a module, docstrings included."""
    for node in ast.walk(tree):
        values = [value for _, value in ast.iter_fields(node)]
        flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
        yield from (item for item in flat if isinstance(item, str))


def tracked() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git work tree")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_modules_are_short() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*PACKAGES)}
    long = {path: lines for path, lines in lengths.items() if lines > MAX_MODULE_LINES and "/migrations/" not in path}
    assert long.keys() == LONG_MODULES.keys(), long


def test_functions_are_short() -> None:
    long = [(name, lines) for name, lines in functions(sources(*PACKAGES)) if lines > MAX_FUNCTION_LINES]
    assert [(name, lines) for name, lines in long if "/migrations/" not in name] == []


def test_most_functions_are_very_short(record_property: Callable[[str, object], None]) -> None:
    lengths = [lines for _, lines in functions(without_migrations(sources(*PACKAGES)))]
    median, p90 = statistics.median(lengths), statistics.quantiles(lengths, n=10)[-1]
    record_property("function_lines", {"median": median, "p90": p90, "functions": len(lengths)})
    assert (median <= MAX_MEDIAN_LINES, p90 <= MAX_P90_LINES) == (True, True), (median, p90)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_root_of_a_package_is_empty(package: str) -> None:
    assert (ROOT / package / "__init__.py").read_text(encoding="utf-8") == ""


def test_no_module_shadows_the_standard_library() -> None:
    names = {path.parent if path.name == "__init__.py" else path.with_suffix("") for path in sources(*PACKAGES)}
    assert sorted(shown(name) for name in names if name.name in sys.stdlib_module_names) == []


def test_only_the_four_layers_and_the_celery_settings_can_be_imported() -> None:
    code = {path.relative_to(ROOT).parts[0] for path in tracked() if path.suffix == ".py"}
    assert code <= {*PACKAGES, "celeryconfig.py", "tests"}
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_the_engine_and_the_tables_name_no_product() -> None:
    modules = without_migrations(sources("sync", "models"))
    named = {shown(path): [word for word in words(parse(path)) if PRODUCT.search(word)] for path in modules}
    assert {path: found for path, found in named.items() if found} == {}


def test_the_helpers_of_an_emulator_serve_only_the_emulator() -> None:
    outsiders = [path for path in sources(*PACKAGES) if not re.match(r"emulat", path.stem)]
    guilty = [shown(path) for path in outsiders if any("emulated_" in module for module in imported(parse(path)))]
    assert guilty == []


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_is_left_for_later() -> None:
    files = [*sources(*PACKAGES), *(path for path in [ROOT / "celeryconfig.py", ROOT / "Makefile"] if path.exists())]
    assert [shown(path) for path in files if UNFINISHED.search(path.read_text(encoding="utf-8"))] == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    guilty = [path for path in tracked() if MACHINE_PATH.search(path.read_text(encoding="utf-8", errors="ignore"))]
    assert [shown(path) for path in guilty] == []


def test_every_rule_switched_off_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    off = text[text.index("\nignore = [") : text.index("[tool.ruff.lint.flake8-builtins]")]
    lines = [line for line in off.splitlines() if RULE.search(line)]
    assert [line for line in lines if not re.search(r"\s# .{12,}", line)] == []
    assert {rule for line in lines for rule in RULE.findall(line)} == rules_off(tomllib.loads(text))


def rules_off(settings: dict[str, dict[str, dict[str, dict[str, object]]]]) -> set[str]:
    lint = settings["tool"]["ruff"]["lint"]
    ignored, per_file = lint["ignore"], lint["per-file-ignores"]
    assert isinstance(ignored, list)
    assert isinstance(per_file, dict)
    return {*ignored, *(rule for rules in per_file.values() for rule in rules)}
