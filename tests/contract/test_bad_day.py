"""A bad day at every emulator: drawn from a seed, counted, and over when it is said to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from providers.emulated_badday import COMMON, BadDay, Kind, Profile
from providers.emulation import Emulator, build_app
from tests.fixtures.google.serving import serving
from workers.emulate import LOADERS, PROVIDERS

ANN = "ann@example.com"
DAY = "startDateTime=2027-03-08T00:00:00Z&endDateTime=2027-03-09T00:00:00Z"
ROUNDS = 60


@dataclass
class Desk:
    """One emulator with a person's event on it, and an app that lists."""

    emulator: Emulator
    url: str
    token: str

    def control(self, method: str, path: str, body: object = None) -> requests.Response:
        return requests.request(method, f"{self.url}/_control/{path}", json=body, timeout=10)

    def begins(self, **profile: object) -> None:
        # Nothing is proven by waiting.
        quick = [kind.name for kind in self.emulator.faults.bad_day.known if kind.name != "latency"]
        self.control("POST", "bad-day", {"kinds": quick, **profile}).raise_for_status()

    def counts(self) -> dict[str, Any]:
        counted: dict[str, Any] = self.control("GET", "requests").json()["bad_day"]
        return counted

    def asks(self) -> requests.Response:
        method, path, body = {
            "outlook": ("GET", f"/v1.0/users/{ANN}/calendarView/delta?{DAY}", None),
            "google": ("GET", f"/calendar/v3/calendars/{ANN}/events", None),
            "hubspot": ("POST", "/crm/v3/objects/meetings/search", {"limit": 10}),
            "calcom": ("GET", "/v2/bookings", None),
        }.get(self.emulator.name, ("GET", "/forms/demo/submissions", None))
        headers = {"Authorization": f"Bearer {self.token}", "cal-api-version": "2024-08-13"}
        return requests.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=10)

    def answers(self) -> list[tuple[int, int]]:
        """Status and length: which request was hit by what, as far as a caller can tell."""
        return [(answer.status_code, len(answer.content)) for answer in (self.asks() for _ in range(ROUNDS))]


@pytest.fixture(params=PROVIDERS)
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    emulator: Any = LOADERS[request.param](None)
    token = {"hubspot": "pat-emulated", "calcom": "cal_emulated"}.get(emulator.name, "")
    if emulator.name == "outlook":
        token = emulator._tokens.issue("watertight")
    if emulator.name == "google":
        token = emulator._tokens.issue(ANN, read_only=False)["access_token"]
    if emulator.name == "hubspot":
        emulator.limits.searches = 1000  # of its own limits another file tells
    with serving(build_app(emulator)) as url:
        yield Desk(emulator, url, token)


def test_one_seed_gives_one_day(desk: Desk) -> None:
    days = []
    for _ in range(2):
        desk.begins(seed=7, share=0.5)
        days.append(([status for status, _ in desk.answers()], desk.counts()))
    assert days[0] == days[1]
    desk.begins(seed=8, share=0.5)
    other = [status for status, _ in desk.answers()]
    assert (other, desk.counts()) != days[0]


def test_without_a_share_nobody_is_hit(desk: Desk) -> None:
    before = desk.asks()
    desk.begins(seed=7, share=0)
    assert {status for status, _ in desk.answers()} == {before.status_code}
    assert desk.counts()["requests"] == ROUNDS
    assert desk.counts()["hits"] == 0


def test_hits_are_counted_by_kind(desk: Desk) -> None:
    desk.begins(seed=7, share=1, kinds=["unavailable"])
    assert {status for status, _ in desk.answers()} == {503}
    assert desk.counts()["by_kind"] == {"unavailable": ROUNDS}
    assert desk.counts()["hits"] == ROUNDS


def test_the_day_ends_and_its_counts_stay(desk: Desk) -> None:
    healthy = desk.asks().status_code
    desk.begins(seed=7, share=1, kinds=["server_error"])
    assert desk.asks().status_code == 500
    assert desk.control("DELETE", "bad-day").json()["by_kind"] == {"server_error": 1}
    assert {status for status, _ in desk.answers()} == {healthy}
    assert desk.counts() == {"profile": None, "requests": 1, "hits": 1, "by_kind": {"server_error": 1}}


def test_a_kind_that_needs_a_person_is_refused(desk: Desk) -> None:
    for kind in ("unauthorized", "forbidden", "quota_exceeded", "revoked_secret", "nonsense"):
        assert desk.control("POST", "bad-day", {"seed": 1, "share": 0.1, "kinds": [kind]}).status_code == 404
    assert desk.control("POST", "bad-day", {"seed": 1, "share": 1.1}).status_code == 422


def test_an_armed_fault_goes_before_a_drawn_one(desk: Desk) -> None:
    desk.begins(seed=7, share=1, kinds=["server_error"])
    desk.control("POST", "faults", {"kind": "unavailable"})
    assert [desk.asks().status_code for _ in range(2)] == [503, 500]
    assert desk.counts()["by_kind"] == {"server_error": 1}


def test_people_and_their_windows_have_no_bad_day(desk: Desk) -> None:
    desk.begins(seed=7, share=1)
    assert desk.control("GET", "state").ok
    assert desk.counts()["requests"] == 0


def test_every_kind_is_drawn_by_its_weight() -> None:
    day = BadDay([Kind("often", 30), Kind("seldom", 10), Kind("elsewhere", 100, "^POST")])
    day.begin(Profile(seed=3, share=0.5))
    for _ in range(4000):
        with day.over("GET /events?a=b"):
            day.take(("often", "seldom", "elsewhere"))
    assert day.by_kind["elsewhere"] == 0
    assert day.by_kind.total() == pytest.approx(2000, rel=0.1)
    assert day.by_kind["often"] == pytest.approx(3 * day.by_kind["seldom"], rel=0.15)


def test_what_is_drawn_and_not_taken_is_no_hit() -> None:
    day = BadDay(COMMON)
    day.begin(Profile(seed=3, share=1, kinds=["html"]))
    with day.over("GET /events"):
        assert day.take(("truncated",)) is None
        assert day.take(("html",)) is not None
        assert day.take(("html",)) is None
    with day.over("POST /token"):
        assert day.take(("html",)) is None
    assert day.as_dict()["hits"] == 1
