"""Codes are stable names: metrics, API answers, alerts and the runbook rely on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import sync.errors
from sync.errors import Malformed, NeedsHuman, NeedsReread, Permanent, RateLimited, Transient, WatertightError

CODES = {
    "watertight_error",
    "transient",
    "rate_limited",
    "provider_unavailable",
    "provider_timeout",
    "write_outcome_unknown",
    "contention",
    "needs_reread",
    "stale_version",
    "cursor_expired",
    "permanent",
    "not_found",
    "forbidden",
    "no_such_right",
    "malformed",
    "unproven",
    "rejected",
    "key_spent",
    "needs_human",
    "credential_revoked",
    "credential_read_only",
    "mass_change",
    "master_check_bypassed",
}


def tree(cls: type[WatertightError]) -> Iterator[type[WatertightError]]:
    if cls.__module__ == sync.errors.__name__:
        yield cls
    for below in cls.__subclasses__():
        yield from tree(below)


def test_every_class_has_a_code_of_its_own_that_never_changes() -> None:
    codes = [cls.code for cls in tree(WatertightError)]
    assert len(codes) == len(set(codes))
    assert set(codes) == CODES


def test_every_class_hangs_on_exactly_one_branch() -> None:
    for cls in tree(WatertightError):
        branches = [branch for branch in (Transient, NeedsReread, Permanent, NeedsHuman) if issubclass(cls, branch)]
        assert len(branches) == (cls is not WatertightError), cls


def test_the_drawing_shows_every_class() -> None:
    drawing = Path(sync.errors.__file__).read_text(encoding="utf-8").split('"""')[1]
    assert set(re.findall(r"[├└]── (\w+)", drawing)) == {cls.__name__ for cls in tree(WatertightError)} - {
        "WatertightError"
    }


def test_errors_carry_what_the_next_step_needs() -> None:
    assert RateLimited("x", retry_after=3.0).retry_after == 3.0
    assert Transient("x").retry_after is None
    assert (Malformed("start", "is naive").field, str(Malformed("start", "is naive"))) == ("start", "start: is naive")
