from __future__ import annotations

import re
from pathlib import Path

from sync.boundaries import Boundary

ROOT = Path(__file__).parents[2]
INVARIANTS = (ROOT / "docs" / "invariants.md").read_text(encoding="utf-8")


def test_every_promise_has_constraint_test_and_alert() -> None:
    sections = re.split(r"^## (P\d+)\b", INVARIANTS, flags=re.MULTILINE)[1:]
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(found) == [f"P{number}" for number in range(1, 14)]
    for promise, text in found.items():
        assert all(f"**{part}**" in text for part in ("Constraint", "Tests", "Alert")), promise


def test_every_named_test_exists() -> None:
    documents = [document.read_text(encoding="utf-8") for document in ROOT.glob("docs/**/*.md")]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", "\n".join(documents))
    assert named
    missing = [f"{file}::{test}" for file, test in named if not _has(ROOT / file, test)]
    assert missing == []


def test_every_place_to_die_at_is_explained() -> None:
    """``job.claimed`` … ``job.cursor`` stands for what lies between."""
    text = (ROOT / "docs" / "commit.md").read_text(encoding="utf-8")
    between = {Boundary.JOB_READ, Boundary.JOB_STORING}
    assert [boundary for boundary in Boundary if f"`{boundary}`" not in text and boundary not in between] == []


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
        dead = [link for link in links if not (document.parent / link).exists()]
        assert dead == [], document


def _has(file: Path, test: str) -> bool:
    return file.exists() and f"def {test}(" in file.read_text(encoding="utf-8")
