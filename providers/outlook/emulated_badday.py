"""What a bad day at Graph is made of (docs/lies.md). A lost deletion or an odd row stays until the window is read in full.

Neither heals within minutes, so neither is here.
"""

from __future__ import annotations

from providers.emulated_badday import COMMON, WRITE, Kind

_DELTA = r"^GET \S*/calendarView/delta"
_RESUMED = r"^GET \S*/calendarView/delta\?\S*(skip|delta)token="
_LIST = r"^GET \S*/(events\?|calendarView)"
_CREATE = r"^POST \S*/events$"

KINDS = (
    *COMMON,
    Kind("late_in_lists", 10, _LIST),
    Kind("expired_cursor", 8, _RESUMED),
    Kind("expired_cursor_40x", 4, _RESUMED),
    Kind("duplicate_rows", 20, _DELTA),
    Kind("stub_rows", 20, _DELTA),
    Kind("false_removal", 20, _DELTA),
    Kind("big_pages", 8, _DELTA),
    Kind("endless_pages", 3, _DELTA),
    Kind("next_link_504", 10, _RESUMED),
    Kind("transient_412", 20, WRITE),
    Kind("delayed_visibility", 15, _CREATE, seconds=2.0),
    Kind("duplicate_transaction_echo", 10, _CREATE),
    Kind("other_event", 10, _CREATE),
    Kind("doubled_create", 5, _CREATE),
)
