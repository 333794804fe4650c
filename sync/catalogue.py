"""Every code that people may meet, with what they are told about it. Pure; ``docs/runbook.md`` says more about each."""

from __future__ import annotations

from sync.entry import Entry, Severity
from sync.own_entries import OWN_ENTRIES
from sync.vendor_entries import VENDOR_ENTRIES

CATALOGUE = {entry.code: entry for entry in (*OWN_ENTRIES, *VENDOR_ENTRIES)}
UNKNOWN = CATALOGUE["watertight_error"]


def entry_of(code: str) -> Entry:
    """What is said about this code; of one that nobody has described, that nobody has."""
    return CATALOGUE.get(code, UNKNOWN)


def severity_of(code: str) -> Severity:
    return entry_of(code).severity
