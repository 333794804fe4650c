from __future__ import annotations

import pytest

from providers.cursors import Place, read_place

LINK = "https://vendor.example/v1.0/delta?$deltatoken=a=b.c"


@pytest.mark.parametrize("seen", [[], ["one"], ["one", "two", "one"]])
def test_a_place_survives_being_stored(seen: list[str]) -> None:
    place = read_place(str(Place("").moved(LINK, seen=seen)))
    assert place == Place("").moved(LINK, seen=seen)
    assert place.link == LINK
    assert [place.knows(series) for series in ("one", "two", "three")] == ["one" in seen, "two" in seen, False]


def test_a_place_keeps_its_series_as_it_moves() -> None:
    moved = Place("").moved("first", seen=["one"]).moved("second", seen=["two"])
    assert (moved.link, moved.knows("one"), moved.knows("two")) == ("second", True, True)


def test_a_cursor_without_series_is_the_vendors_own() -> None:
    assert str(read_place(LINK)) == LINK
