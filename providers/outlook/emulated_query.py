"""How Graph reads a request: path and query names without case, paging, window, filter and preferences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from providers.outlook import emulated_events as events
from providers.outlook.emulated_delta import Place
from providers.outlook.emulated_events import GraphError

PAGE_ROWS: Final = 10
MOST_ROWS: Final = 1000

# Ids keep their case (Graph: outlook-immutable-id.md). Four spellings of the function delta mean the same.
_SEGMENTS: Final = {
    **{
        name.lower(): name
        for name in ("calendar", "calendarView", "events", "subscriptions", "cancel", "getSchedule", "instances")
    },
    **dict.fromkeys(("delta", "delta()", "microsoft.graph.delta", "microsoft.graph.delta()"), "delta"),
}
_KEY_FILTER: Final = re.compile(
    r"singleValueExtendedProperties/any\((\w+):\s*\1/id eq '((?:[^']|'')*)' and \1/value eq '((?:[^']|'')*)'\)",
    re.IGNORECASE,
)


def canonical(path: str) -> list[str]:
    """The segments in Graph's own spelling, without the optional ``/calendar``."""
    segments = path.split("/")
    if [each.lower() for each in segments[1:2]] != ["v1.0"]:
        return segments
    if segments[2:3] and segments[2].lower() == "users":
        named = [_SEGMENTS.get(each.lower(), each) for each in segments[4:]]
        return ["", "v1.0", "users", *segments[3:4], *(each for each in named if each != "calendar")]
    return ["", "v1.0", *(_SEGMENTS.get(each.lower(), each) for each in segments[2:])]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. ``path`` is canonical and decoded, ``base`` the address of the server."""

    base: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    prefer: str

    def find(self, name: str) -> str | None:
        return next((value for key, value in self.parameters if key.lower() == name.lower()), None)

    def count(self, name: str, *, default: int) -> int:
        """Raises GraphError: not a number."""
        text = self.find(name) or str(default)
        if not text.isascii() or not text.isdigit():
            raise GraphError(400, "BadRequest", f"Invalid value for {name}.")
        return int(text)

    def zone(self) -> str:
        """Raises GraphError: a zone that Graph does not know."""
        name = self._preferred(r'outlook\.timezone="([^"]*)"') or "UTC"
        events.zone_info(name)
        return name

    def page_size(self) -> int:
        return max(1, int(self._preferred(r"odata\.maxpagesize=(\d+)") or PAGE_ROWS))

    def window(self, *, upto: int = 0) -> Place:
        """Raises GraphError: no window, or one that is none."""
        start, end = self.find("startDateTime"), self.find("endDateTime")
        place = Place(start or "", end or "", after=0, upto=upto, full=True)
        try:
            if place.window[0] < place.window[1]:
                return place
        except ValueError:
            pass
        raise GraphError(400, "ErrorInvalidParameter", "This request requires startDateTime and endDateTime.")

    def key_filter(self) -> tuple[str, str] | None:
        """Name and value of the extended property that is searched for.

        Raises:
            GraphError: any other filter, so that nobody comes to rely on one that Graph does not have.
        """
        text = self.find("$filter")
        if text is None:
            return None
        found = _KEY_FILTER.fullmatch(text.strip())
        if found is None:
            raise GraphError(400, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.")
        return found[2].replace("''", "'"), found[3].replace("''", "'")

    def next_page(self, *, top: int, skip: int) -> str:
        kept = [(key, value) for key, value in self.parameters if key.lower() not in {"$top", "$skip"}]
        return self.link([*kept, ("$top", str(top)), ("$skip", str(skip))])

    def link(self, parameters: list[tuple[str, str]]) -> str:
        """An absolute address of the same resource, as answers carry it."""
        return f"{self.base}{quote(self.path, safe='/@')}?{urlencode(parameters, safe='$')}"

    def _preferred(self, pattern: str) -> str | None:
        found = re.search(pattern, self.prefer, re.IGNORECASE)
        return found[1] if found else None
