"""The lock files pin all that pyproject asks for, and nothing but names and versions stands in them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([A-Za-z0-9.]+)")


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.lstrip().startswith("#")]
    found = [PIN.fullmatch(line) for line in lines]
    assert None not in found, [line for line, match in zip(lines, found, strict=True) if match is None]
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def unmet(requirements: list[str], lock: dict[str, str]) -> list[str]:
    wanted = [Requirement(line) for line in requirements]
    return [str(wish) for wish in wanted if not wish.specifier.contains(lock.get(canonicalize_name(wish.name), "0"))]


def test_the_runtime_lock_satisfies_pyproject() -> None:
    assert unmet(PROJECT["dependencies"], pins("requirements.lock")) == []


def test_the_dev_lock_satisfies_pyproject() -> None:
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    assert unmet(wanted, pins("requirements-dev.lock")) == []


def test_both_locks_agree() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_tells_nothing_of_the_machine_that_made_it(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links|--trusted-host|\s/", text)
