"""What a bad day at Cal.com is made of (docs/lies.md). Every list looks back, so that even an odd row heals."""

from __future__ import annotations

from providers.emulated_badday import CALL, COMMON, WRITE, Kind

_LIST = r"^GET \S*/bookings\?"
_LATER = r"^GET \S*/bookings\?(\S*&)?skip=[1-9]"

KINDS = (
    *COMMON,
    Kind("page_too_large", 15, _LIST),
    Kind("page_loop", 10, _LIST),
    Kind("partial_page", 15, _LIST),
    Kind("empty_page", 10, _LIST),
    Kind("duplicate_rows", 20, _LIST),
    Kind("malformed_row", 10, _LIST),
    Kind("missing_id", 15, _LIST),
    Kind("late_row", 15, _LIST),
    Kind("odd_spelling", 15, _LIST),
    Kind("free_order", 15, _LATER),
    Kind("rows_shift", 15, _LATER),
    Kind("older_shape", 5, CALL),
    Kind("booked_despite_error", 15, WRITE),
    Kind("write_without_effect", 10, WRITE),
    Kind("reschedule_without_successor", 10, r"/reschedule$"),
    Kind("successor_without_origin", 10, r"/reschedule$"),
)
