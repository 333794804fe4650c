"""The search as the emulator answers it: filters, one sort, pages up to 10,000 rows, and the ways in which a page can lie.

Source: developers.hubspot.com/docs/api-reference/latest/crm/search-the-crm; lies from facts/providers.md §5, rows 36 to 39.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from providers.hubspot.emulated_account import Row
from providers.hubspot.emulated_record import DATES, NUMBERS, PROPERTIES, Refusal, shown_record, to_ms

MOST_RESULTS = 10_000
MOST_ROWS = 200
DEFAULT_ROWS = 10

_MOST_GROUPS = 5
_MOST_FILTERS = 6

Value = int | str | None
Asked = Mapping[str, Any]


def search_page(body: Asked, rows: Iterable[Row], *, most: int = MOST_RESULTS) -> dict[str, Any]:
    """One page of the rows that match.

    Raises:
        Refusal: 400 for a query that HubSpot refuses, among them one that pages beyond ``most`` results.
    """
    limit, after = _number(body, "limit", DEFAULT_ROWS), _number(body, "after", 0)
    if not 1 <= limit <= MOST_ROWS:
        raise Refusal(400, f"The page size must be between 1 and {MOST_ROWS}, was {limit}.")
    if after + limit > most:
        raise Refusal(400, f"The total number of results cannot exceed {most}.")
    found = _sorted(body, [row for row in rows if _matches(body, row)])
    names = body.get("properties") or []
    shown = [shown_record(row.record, names) for row in found[after : after + limit]]
    page: dict[str, Any] = {"total": len(found), "results": shown}
    if after + limit < len(found):
        page["paging"] = {"next": {"after": str(after + limit), "link": f"?after={after + limit}"}}
    return page


def owner_asked_for(body: Asked) -> str | None:
    """The owner that every group asks for, as far as one does."""
    for group in body.get("filterGroups") or []:
        for condition in group.get("filters") or []:
            if condition.get("propertyName") == "hubspot_owner_id" and condition.get("operator") == "EQ":
                return str(condition.get("value"))
    return None


def without_numbers(body: Asked) -> dict[str, Any]:
    """The query without its conditions on the record's number, so that it begins at the beginning again."""
    groups = [
        {"filters": [condition for condition in group["filters"] if condition["propertyName"] != "hs_object_id"]}
        for group in body.get("filterGroups") or []
    ]
    return {**body, "filterGroups": groups}


def spoilt(kind: str, page: dict[str, Any], *, body: Asked, strangers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The page with one of the reported lies in it."""
    results, again = page["results"], {"next": {"after": "1"}}
    uninvited = [shown_record(row, body.get("properties") or []) for row in strangers]
    most = _number(body, "limit", DEFAULT_ROWS)
    pushed_out = again if len(uninvited) + len(results) > most else page.get("paging")
    spoils: dict[str, dict[str, Any]] = {
        "beyond_bounds": {"results": [*uninvited, *results][:most], "paging": pushed_out},
        "duplicate_rows": {"results": [row for row in results for _ in range(2)]},
        "oversized_page": {"results": (results * (MOST_ROWS + 1))[: MOST_ROWS + 1]},
        "partial_page": {"results": results[: len(results) // 2], "paging": None},
        "out_of_order": {"results": results[::-1]},
        "malformed_row": {"results": [_malformed(row) for row in results[:1]] + results[1:]},
        "errors_beside": {"status": "COMPLETE", "numErrors": 1, "errors": [{"status": "error", "message": "no"}]},
        "endless_pages": {"paging": again},
    }
    return {name: value for name, value in {**page, **spoils[kind]}.items() if value is not None}


def _malformed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "properties": {**row["properties"], "hs_meeting_end_time": None}}


def _number(body: Asked, name: str, otherwise: int) -> int:
    value = body.get(name)
    if value in (None, ""):
        return otherwise
    try:
        return int(str(value))
    except ValueError:
        raise Refusal(400, f"Invalid input JSON: {name} is not a number") from None


def _matches(body: Asked, row: Row) -> bool:
    text = str(body.get("query") or "").lower()
    if text and text not in f"{row.index.get('hs_meeting_title')} {row.index.get('hs_meeting_body')}".lower():
        return False
    groups = body.get("filterGroups") or []
    return not groups or any(all(_holds(condition, row) for condition in group["filters"]) for group in groups)


def must_be_valid(body: Asked) -> None:
    """Raises: Refusal 400 for filters or sorts that HubSpot does not take."""
    groups = body.get("filterGroups") or []
    sizes = [len(group.get("filters") or []) for group in groups]
    if len(groups) > _MOST_GROUPS or max(sizes, default=0) > _MOST_FILTERS:
        raise Refusal(400, "There are too many filters in this search.")
    for condition in (condition for group in groups for condition in group.get("filters") or []):
        if condition.get("propertyName") not in PROPERTIES:
            raise Refusal(
                400, f"There was a problem with the request: unknown property {condition.get('propertyName')}"
            )
        if condition.get("operator") not in _OPERATORS:
            raise Refusal(400, "Invalid input JSON: operator is not one of the allowed values")
    if len(body.get("sorts") or []) > 1:
        raise Refusal(400, "Only one sort is allowed.")


def _sorted(body: Asked, rows: list[Row]) -> list[Row]:
    sorts = body.get("sorts") or []
    if not sorts:
        return sorted(rows, key=lambda row: row.number)
    sort = sorts[0] if isinstance(sorts[0], dict) else {"propertyName": str(sorts[0]).lstrip("-")}
    falling = sort.get("direction") == "DESCENDING" or sorts[0] == f"-{sort['propertyName']}"
    name = sort["propertyName"]

    def key(row: Row) -> tuple[int, str, int]:
        value = _value(name, row.index.get(name))
        return (value if isinstance(value, int) else 0, str(value or ""), row.number)

    return sorted(rows, key=key, reverse=falling)


def _value(name: str, value: object) -> Value:
    """As the property's type compares it."""
    if value in (None, ""):
        return None
    if name in DATES:
        return to_ms(value)
    return int(str(value)) if name in NUMBERS and str(value).isdecimal() else str(value).lower()


def _holds(condition: Mapping[str, Any], row: Row) -> bool:
    name = condition["propertyName"]
    has = _value(name, row.index.get(name))
    wanted = [_value(name, condition.get(field)) for field in ("value", "highValue")]
    several = [_value(name, value) for value in condition.get("values") or []]
    return _OPERATORS[condition["operator"]](has, wanted, several)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Value, Sequence[Value], Sequence[Value]], bool]:
    def holds(has: Value, wanted: Sequence[Value], _several: Sequence[Value]) -> bool:
        return has is not None and wanted[0] is not None and type(has) is type(wanted[0]) and test(has, wanted[0])

    return holds


def _between(has: Value, wanted: Sequence[Value], _several: Sequence[Value]) -> bool:
    low, high = wanted
    return isinstance(has, int) and isinstance(low, int) and isinstance(high, int) and low <= has <= high


_OPERATORS: Final[dict[str, Callable[[Value, Sequence[Value], Sequence[Value]], bool]]] = {
    "EQ": _compare(lambda has, wanted: bool(has == wanted)),
    "NEQ": _compare(lambda has, wanted: bool(has != wanted)),
    "LT": _compare(lambda has, wanted: bool(has < wanted)),
    "LTE": _compare(lambda has, wanted: bool(has <= wanted)),
    "GT": _compare(lambda has, wanted: bool(has > wanted)),
    "GTE": _compare(lambda has, wanted: bool(has >= wanted)),
    "BETWEEN": _between,
    "IN": lambda has, _wanted, several: has in several,
    "NOT_IN": lambda has, _wanted, several: has is not None and has not in several,
    "HAS_PROPERTY": lambda has, _wanted, _several: has is not None,
    "NOT_HAS_PROPERTY": lambda has, _wanted, _several: has is None,
    "CONTAINS_TOKEN": lambda has, wanted, _several: _has_token(has, wanted[0]),
    "NOT_CONTAINS_TOKEN": lambda has, wanted, _several: not _has_token(has, wanted[0]),
}


def _has_token(has: Value, wanted: Value) -> bool:
    return str(wanted).strip("*") in str(has or "").split()
