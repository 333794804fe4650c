"""What a bad day at Google Calendar is made of (docs/lies.md). An odd row stays until the window is read in full: not here."""

from __future__ import annotations

from providers.emulated_badday import CALL, COMMON, WRITE, Kind

_LIST = r"^GET \S*/events\?"
_RESUMED = r"^GET \S*/events\?\S*syncToken="
_INSERT = r"^POST \S*/events(\?|$)"

KINDS = (
    *COMMON,
    Kind("late_in_lists", 10, _LIST),
    Kind("expired_cursor", 10, _RESUMED),
    Kind("duplicate_rows", 20, _LIST),
    Kind("empty_page", 10, _LIST),
    Kind("partial_page", 15, _LIST),
    Kind("no_sync_token", 10, _LIST),
    Kind("no_tombstones", 10, _LIST),
    Kind("cancelled_rows", 10, _LIST),
    Kind("endless_pages", 3, _LIST),
    Kind("rate_limited_403", 10, CALL),
    Kind("transient_412", 20, WRITE),
    Kind("delayed_visibility", 15, _INSERT, seconds=2.0),
    Kind("other_event", 10, _INSERT),
)
