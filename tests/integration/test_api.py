"""The API over real HTTP with tokens: who gets in, and that the answer is the decision."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
import requests

from models.queries import ProposalRecord
from models.session import transaction
from sync.domain import Interval, Job
from sync.tokens import Scope, list_tokens, revoke_token
from tests.integration.desk import Desk, open_desk, wish
from tests.integration.world import at
from workers.embedded import EmbeddedPostgres, EmbeddedValkey

WAIT = "?wait=20"
hours = itertools.count(30)


@pytest.fixture(scope="module")
def desk(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One for all tests here; each uses an hour of its own."""
    with (
        EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as valkey,
        open_desk(postgres, tmp_path_factory.mktemp("api"), name="api", WATERTIGHT_BROKER_URL=valkey.url()) as opened,
    ):
        yield opened


@pytest.fixture
def hour() -> Interval:
    return at(next(hours) * 3)


def problem(answer: requests.Response, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    found: dict[str, Any] = answer.json()
    return found


# Who gets in


def test_nobody_gets_in_without_a_token(desk: Desk) -> None:
    unknown = f"wt_{'x' * 43}"
    for headers in (
        {},
        *(
            {"Authorization": said}
            for said in (
                "",
                "Bearer",
                "Bearer ",
                "Bearer garbage",
                "Basic dTpw",
                f"Bearer {unknown}",
                unknown,
                f"Bearer {desk.token}x",
            )
        ),
    ):
        for method, path in (("GET", "/api/proposals/1"), ("POST", "/api/proposals"), ("DELETE", "/api/holds/x")):
            answer = requests.request(method, desk.web.url + path, data=b"{", headers=headers, timeout=20)
            problem(answer, 401)
            assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_word_bearer_knows_no_case(desk: Desk) -> None:
    headers = {"Authorization": f"bEARER {desk.token}"}
    assert requests.get(f"{desk.web.url}/api/proposals", headers=headers, timeout=20).ok


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/proposals/1", Scope.READ),
        ("GET", "/api/proposals", Scope.READ),
        ("GET", "/api/agents/dana/availability", Scope.READ),
        ("POST", "/api/proposals", Scope.BOOK),
        ("POST", "/api/holds", Scope.BOOK),
        ("DELETE", "/api/holds/x", Scope.BOOK),
        ("POST", "/api/appointments/1/move", Scope.CHANGE),
        ("POST", "/api/appointments/1/cancel", Scope.CHANGE),
    ],
)
def test_a_scope_that_is_missing_is_named(desk: Desk, method: str, path: str, scope: Scope) -> None:
    others = desk.make_token(*(one for one in Scope if one is not scope))
    assert str(scope) in problem(desk.ask(method, path, token=others), 403)["detail"]
    assert desk.ask(method, path, token=desk.make_token(scope)).status_code not in {401, 403}


def test_a_revoked_token_stops_working_within_five_seconds(desk: Desk) -> None:
    token = desk.make_token(Scope.READ)
    assert desk.ask("GET", "/api/proposals", token=token).ok
    with transaction(desk.world.app) as session:
        name = list_tokens(session)[-1].name
        revoke_token(session, name)
    until = time.monotonic() + 5
    while desk.ask("GET", "/api/proposals", token=token).ok:
        assert time.monotonic() < until
        time.sleep(0.1)
    problem(desk.ask("GET", "/api/proposals", token=token), 401)


def test_a_token_has_a_rate_of_its_own(desk: Desk) -> None:
    token = desk.make_token(Scope.READ, per_minute=3)
    answers = [desk.ask("GET", "/api/proposals", token=token) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit"].partition(";t=")[0] for answer in answers] == [
        f'"minute";r={left}' for left in (2, 1, 0, 0)
    ]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert "3 requests a minute" in problem(answers[-1], 429)["detail"]
    assert desk.ask("GET", "/api/proposals").ok


# Keys


def test_the_same_key_and_body_is_the_same_proposal_and_for_something_else_refused(desk: Desk, hour: Interval) -> None:
    first, second = (desk.propose(hour, key="again") for _ in range(2))
    assert (first.status_code, second.status_code, first.json()) == (202, 202, second.json())
    other = problem(desk.ask("POST", "/api/proposals", wish(hour, title="Attic"), key="again"), 422)
    assert [one["field"] for one in other["errors"]] == ["idempotency-key"]


def test_keys_of_different_tokens_never_meet(desk: Desk, hour: Interval) -> None:
    tokens = [desk.make_token(Scope.BOOK) for _ in range(2)]
    answers = [desk.propose(hour, key="mine", token=token) for token in tokens]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["id"] != answers[1].json()["id"]


# The answer is the decision


def test_a_booking_is_answered_with_its_appointment(desk: Desk, hour: Interval) -> None:
    with desk.deciding():
        answer = desk.propose(hour, query=WAIT, key="booked")
    told = answer.json()
    assert (answer.status_code, told["state"], told["reason"]) == (201, "settled", "accepted"), answer.text
    assert told["appointment"] > 0
    assert answer.headers["Location"] == f"/api/proposals/{told['id']}"
    assert desk.ask("GET", answer.headers["Location"]).json() == told
    again = desk.propose(hour, key="booked")
    assert (again.status_code, again.json()) == (201, told), "a repetition is answered by its state"


def test_a_refusal_is_a_problem_with_evidence_and_what_is_still_free(desk: Desk, hour: Interval) -> None:
    with desk.deciding():
        booked = desk.propose(hour, query=WAIT).json()
        told = problem(desk.propose(hour, query=WAIT), 409)
    assert (told["type"], told["state"], told["reason"]) == ("urn:watertight:slot_taken", "refused", "slot_taken")
    assert told["evidence"]["slots"][0]["appointment"] == booked["appointment"]
    assert len(told["alternatives"]) == 5
    offered = [Interval(_instant(one["start"]), _instant(one["end"])) for one in told["alternatives"]]
    assert not any(one.overlaps(hour) for one in offered)
    with desk.deciding():
        chosen = told["alternatives"][0]
        body = wish(offered[0], title="Demo", slot_version=chosen["version"])
        assert desk.ask("POST", f"/api/proposals{WAIT}", body).status_code == 201


def test_what_the_master_shows_live_is_not_offered_again_though_our_picture_is_older(
    desk: Desk, hour: Interval
) -> None:
    desk.world.master.put(hour, "Dentist of Ann Onymous")
    with desk.deciding():
        answer = desk.propose(hour, query=WAIT)
    told = problem(answer, 409)
    assert (told["reason"], len(told["evidence"]["events"])) == ("master_busy", 1)
    assert set(told["evidence"]["events"][0]) == {"remote_id", "version", "interval"}
    assert hour.start.isoformat() not in [_instant(one["start"]).isoformat() for one in told["alternatives"]]
    assert [word for word in ("Dentist", "Onymous", "Secret") if word in answer.text] == []


def test_whoever_saw_an_older_slot_is_refused_and_offered_its_version_of_now(desk: Desk, hour: Interval) -> None:
    with desk.deciding():
        told = problem(desk.ask("POST", f"/api/proposals{WAIT}", wish(hour, title="Demo", slot_version=7)), 409)
        assert (told["reason"], told["evidence"]["version_seen"], told["evidence"]["version_now"]) == ("stale", 7, 0)
        again = next(one for one in told["alternatives"] if _instant(one["start"]) == hour.start)
        body = wish(hour, title="Demo", slot_version=again["version"])
        assert desk.ask("POST", f"/api/proposals{WAIT}", body).status_code == 201


def test_an_appointment_is_moved_and_cancelled(desk: Desk, hour: Interval) -> None:
    later = at(next(hours) * 3)
    with desk.deciding():
        number = desk.propose(hour, query=WAIT).json()["appointment"]
        times = {"start": later.start.isoformat(), "end": later.end.isoformat()}
        moved = desk.ask("POST", f"/api/appointments/{number}/move{WAIT}", times)
        assert (moved.status_code, moved.json()["appointment"]) == (201, number), moved.text
        cancelled = desk.ask("POST", f"/api/appointments/{number}/cancel{WAIT}")
        assert (cancelled.status_code, cancelled.json()["state"]) == (201, "settled"), cancelled.text
        too_late = problem(desk.ask("POST", f"/api/appointments/{number}/move{WAIT}", times), 409)
    assert (too_late["reason"], too_late["alternatives"]) == ("gone", None)


def test_a_hold_is_answered_with_its_secret_and_end_and_can_be_given_back(desk: Desk, hour: Interval) -> None:
    with desk.deciding():
        held = desk.ask("POST", f"/api/holds{WAIT}", wish(hour, seconds=60))
        assert (held.status_code, held.json()["state"]) == (201, "settled"), held.text
        left = _instant(held.json()["held_until"]).timestamp() - time.time()
        assert 30 < left < 70
        problem(desk.propose(hour, query=WAIT), 409)
        secret = held.json()["hold"]
        assert secret not in desk.ask("GET", held.headers["Location"]).text
        released = desk.ask("DELETE", f"/api/holds/{secret}{WAIT}")
        assert (released.status_code, released.json()["state"]) == (200, "settled"), released.text
        assert desk.propose(hour, query=WAIT).status_code == 201


# Waiting


def test_without_a_decision_the_wait_ends_when_it_was_to_end(desk: Desk, hour: Interval) -> None:
    began = time.monotonic()
    answer = desk.propose(hour, query="?wait=0.4")
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    assert 0.4 <= time.monotonic() - began < 15


@pytest.mark.parametrize("seconds", ["-1", "30.1", "nan", "inf", "soon", ""])
def test_a_wait_that_cannot_be_is_refused(desk: Desk, hour: Interval, seconds: str) -> None:
    told = problem(desk.propose(hour, query=f"?wait={seconds}"), 422)
    assert [one["field"] for one in told["errors"]] == ["wait"]


def test_a_hundred_who_wait_hold_up_nobody_and_are_all_answered(desk: Desk) -> None:
    times = [at(1_000 + number) for number in range(25)]
    with ThreadPoolExecutor(100) as crowd:
        waiting = [
            crowd.submit(desk.propose, one, query="?wait=30", key=f"crowd {one}") for one in times for _ in range(4)
        ]
        until = time.monotonic() + 20
        while not set(times) <= {_wanted(record) for record in desk.world.proposals()}:
            assert time.monotonic() < until
            time.sleep(0.05)
        slowest = max(_seconds(lambda: requests.get(f"{desk.web.url}/healthz", timeout=20)) for _ in range(20))
        read = max(_seconds(lambda: desk.ask("GET", "/api/proposals?limit=1")) for _ in range(10))
        with desk.deciding():
            answers = [one.result() for one in waiting]
    assert [answer.status_code for answer in answers] == [201] * 100
    assert len({answer.json()["id"] for answer in answers}) == 25, "the same key at once is one proposal too"
    assert (slowest < 3.0, read < 5.0) == (True, True), (slowest, read)


def test_a_waiter_that_hangs_up_is_forgotten(desk: Desk, hour: Interval) -> None:
    with pytest.raises(requests.Timeout):
        requests.post(
            f"{desk.web.url}/api/proposals?wait=30",
            json=wish(hour, title="Demo"),
            headers={"Authorization": f"Bearer {desk.token}", "Idempotency-Key": "gone"},
            timeout=0.5,
        )
    assert desk.propose(at(next(hours) * 3)).status_code == 202


# Pages


def test_proposals_come_page_by_page_newest_first(desk: Desk) -> None:
    wanted = [desk.propose(at(next(hours) * 3)).json()["id"] for _ in range(5)]
    seen: list[int] = []
    path: str | None = "/api/proposals?agent=dana&state=pending&limit=2"
    while path is not None and len(seen) < 5:
        answer = desk.ask("GET", path).json()
        assert len(answer["proposals"]) <= 2
        assert {one["state"] for one in answer["proposals"]} == {"pending"}
        seen += [one["id"] for one in answer["proposals"]]
        path = answer["next"]
    assert seen[:5] == wanted[::-1]
    everything = desk.ask("GET", "/api/proposals?limit=200").json()
    assert (everything["next"], "Secret" in str(everything)) == (None, False)


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("limit=0", 422, "limit"),
        ("limit=201", 422, "limit"),
        ("after=x", 422, "after"),
        ("state=lost", 422, "state"),
        ("agent=nobody", 404, None),
    ],
)
def test_a_page_that_cannot_be_is_said_so(desk: Desk, query: str, status: int, field: str | None) -> None:
    told = problem(desk.ask("GET", f"/api/proposals?{query}"), status)
    assert [one["field"] for one in told.get("errors", [])] == ([field] if field else [])


# What is free


def test_everybody_who_can_be_booked_is_listed(desk: Desk) -> None:
    told = desk.ask("GET", "/api/agents").json()
    assert told == {"agents": [{"slug": "dana", "name": "dana", "zone": "UTC", "minutes": 30}]}


def test_what_is_free_comes_with_versions_and_the_age_of_the_picture(desk: Desk) -> None:
    for job in Job:
        desk.world.detect(job, "dana-master")
    start = at(4_000).start
    query = f"from={start.isoformat().replace('+00:00', 'Z')}&minutes=60"
    desk.world.sql("UPDATE agents SET booking_days = 365")
    told = desk.ask("GET", f"/api/agents/dana/availability?{query}").json()
    assert (told["agent"], told["zone"], told["minutes"], told["stopped"]) == ("dana", "UTC", 60, None)
    assert 0 <= told["age_seconds"] < 120
    assert (len(told["slots"]), _instant(told["slots"][0]["start"])) == (7 * 24, start)
    plus = desk.ask("GET", f"/api/agents/dana/availability?from={start.isoformat()}&minutes=60")
    assert plus.json()["slots"] == told["slots"], "a plus sign in an address arrives as a space"


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("nobody/availability", 404, None),
        ("dana/availability?from=2027-03-08T15:00:00", 422, "from"),
        ("dana/availability?from=1804518000", 422, "from"),
        ("dana/availability?from=2027-03-08T15:00:00Z&to=2027-03-08T15:00:00Z", 422, "to"),
        ("dana/availability?from=2027-03-08T15:00:00Z&to=2027-05-10T15:00:00Z", 422, "to"),
        ("dana/availability?minutes=4", 422, "minutes"),
        ("dana/availability?minutes=1441", 422, "minutes"),
        ("dan%00a/availability", 422, "slug"),
    ],
)
def test_a_question_that_cannot_be_answered_is_a_problem(desk: Desk, path: str, status: int, field: str | None) -> None:
    told = problem(desk.ask("GET", f"/api/agents/{path}"), status)
    assert [one["field"] for one in told.get("errors", [])] == ([field] if field else [])


# What holds for every answer


def test_every_answer_has_its_headers_and_no_other_site_is_let_in(desk: Desk) -> None:
    for path, status in (("/healthz", 200), ("/nowhere", 404), ("/api/nowhere", 404), ("/api/proposals", 200)):
        answer = desk.ask("GET", path, Origin="https://evil.example")
        assert answer.status_code == status
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert (answer.headers.get("Cache-Control") == "no-store") is path.startswith("/api/")
        assert [name for name in answer.headers if name.lower().startswith("access-control")] == []
        assert "Strict-Transport-Security" not in answer.headers
    preflight = desk.ask(
        "OPTIONS", "/api/proposals", Origin="https://evil.example", Access_Control_Request_Method="POST"
    )
    problem(preflight, 405)
    assert [name for name in preflight.headers if name.lower().startswith("access-control")] == []


def test_no_body_is_read_further_than_it_may_be_long(desk: Desk) -> None:
    headers = {"Authorization": f"Bearer {desk.token}", "Idempotency-Key": "big", "Content-Type": "application/json"}
    pieces = (b" " * 1024 for _ in range(257))
    for body in (b" " * (256 * 1024 + 1), pieces):
        problem(requests.post(f"{desk.web.url}/api/proposals", data=body, headers=headers, timeout=20), 413)
    problem(requests.post(f"{desk.web.url}/api/proposals", data=b" " * 256 * 1024, headers=headers, timeout=20), 422)


@pytest.mark.parametrize("depth", [200, 900, 100_000])
def test_a_body_of_absurd_depth_is_no_error_of_ours(desk: Desk, depth: int) -> None:
    headers = {"Authorization": f"Bearer {desk.token}", "Idempotency-Key": "deep", "Content-Type": "application/json"}
    for body in ("[" * depth, "[" * depth + "]" * depth, '{"agent":' * (depth // 10) + "1" + "}" * (depth // 10)):
        answer = requests.post(f"{desk.web.url}/api/proposals", data=body, headers=headers, timeout=20)
        assert 400 <= answer.status_code < 500
        problem(answer, answer.status_code)


def test_no_log_carries_a_token_or_what_was_typed(desk: Desk) -> None:
    log = desk.web.log.read_text()
    assert [word for word in (desk.token, "Secret cellar", "Onymous") if word in log] == []
    assert "Traceback" not in log


def _wanted(record: ProposalRecord) -> Interval | None:
    return Interval(record.starts_at, record.ends_at) if record.starts_at and record.ends_at else None


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _seconds(ask: Callable[[], requests.Response]) -> float:
    began = time.monotonic()
    assert ask().ok
    return time.monotonic() - began
