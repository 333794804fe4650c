"""What a bad day at HubSpot is made of (docs/lies.md). Every search looks back, so that even an odd row heals."""

from __future__ import annotations

from providers.emulated_badday import CALL, COMMON, WRITE, Kind

_SEARCH = r"^POST \S*/search$"

KINDS = (
    *COMMON,
    Kind("beyond_bounds", 20, _SEARCH),
    Kind("duplicate_rows", 20, _SEARCH),
    Kind("oversized_page", 10, _SEARCH),
    Kind("partial_page", 15, _SEARCH),
    Kind("out_of_order", 20, _SEARCH),
    Kind("malformed_row", 10, _SEARCH),
    Kind("errors_beside", 10, _SEARCH),
    Kind("endless_pages", 3, _SEARCH),
    Kind("late_in_search", 20, WRITE, seconds=5.0),
    Kind("empty_fields", 10, WRITE),
    Kind("burst_limit", 5, CALL),
    Kind("locked", 10, CALL),
    Kind("migrating", 5, CALL, seconds=1.0),
)
