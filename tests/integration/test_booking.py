"""What the booking page's addresses answer to visitors and to everybody else, over real HTTP."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text

from sync.domain import Attendee, Interval, Job, Kind
from sync.intake import Received, Request, receive
from sync.openings import WEEKDAYS
from tests.conftest import Shared
from tests.integration.served import Web, serve
from tests.integration.world import World, at
from workers.embedded import EmbeddedValkey

SECRET = "q" * 22
GUEST = {"name": "Ann Onymous", "email": "ann@prospect.example"}
PRIVATE = (*GUEST.values(), "Ann")
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def web(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """With a broker that nobody listens to: what is decided, a test decides."""
    url = shared.app.url.render_as_string(hide_password=False)
    folder = tmp_path_factory.mktemp("web")
    with EmbeddedValkey(folder) as valkey:
        broker = {"WATERTIGHT_BROKER_URL": valkey.url()}
        with serve(folder, database_url=url, **broker) as served:
            yield served


@dataclass
class Passer:
    """Somebody with an address of their own."""

    web: Web
    address: str

    def send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        data: str | bytes | dict[str, str] | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> requests.Response:
        told = {"Sec-Fetch-Site": "same-origin", "X-Forwarded-For": self.address, **(headers or {})}
        url = f"{self.web.url}/book/{path}"
        return requests.request(method, url, json=body, data=data, headers=told, timeout=20, allow_redirects=False)


@dataclass
class Visitor(Passer):
    """``world`` decides while they wait."""

    world: World

    def wait(self, ask: Callable[[], requests.Response]) -> requests.Response:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask)
            while not asked.done():
                self.world.work()
            return asked.result()

    def hold(self, wanted: Interval, *, key: str | None = None, version: int | None = 0) -> requests.Response:
        body = times(wanted) | {"version": version, "key": key or f"key-{next(numbers):016}"}
        return self.wait(lambda: self.send("POST", "dana/holds", body=body))

    def book(self, wanted: Interval, hold: str, **changed: object) -> requests.Response:
        body = times(wanted) | GUEST | {"hold": hold} | changed
        return self.wait(lambda: self.send("POST", "dana/bookings", body=body))

    def outcome(self, wanted: Interval, hold: str) -> dict[str, Any]:
        """Of a booking, however long it took."""
        asked = self.book(wanted, hold)
        self.world.settle()
        later = self.send("GET", f"dana/bookings/{hold}") if asked.status_code == 202 else asked
        found: dict[str, Any] = later.json()
        return found


@pytest.fixture
def visitor(web: Web, world: World, owner_engine: Engine) -> Visitor:
    """Dana can be booked at any hour, and her master has just been read."""
    hours = json.dumps({day: ["00:00-24:00"] for day in WEEKDAYS})
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE agents SET name = 'Dana', working_hours = :hours"), {"hours": hours})
    world.detect_all()
    return Visitor(web, f"198.51.100.{next(numbers) % 250}", world)


@pytest.fixture
def passer(web: Web) -> Passer:
    return Passer(web, f"198.51.100.{next(numbers) % 250}")


def times(wanted: Interval) -> dict[str, Any]:
    return {"start": wanted.start.isoformat(), "end": wanted.end.isoformat()}


def half(hour: float) -> Interval:
    """Half an hour, which is how long Dana's appointments are."""
    return at(hour, 30)


def test_a_held_time_is_booked_once_however_often_it_is_asked(visitor: Visitor) -> None:
    held = visitor.hold(half(10))
    answer = held.json()
    assert (held.status_code, answer["state"]) == (201, "held")
    assert 290 < answer["seconds"] <= 300
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(visitor.book, half(10), answer["hold"]) for _ in range(4)]
        answers = [one.result() for one in asked]
    assert {(one.status_code, one.json()["state"]) for one in answers} <= {(201, "booked"), (202, "checking")}
    visitor.world.quiesce()
    assert visitor.world.booked() == [half(10)]
    polled = visitor.send("GET", f"dana/bookings/{answer['hold']}")
    assert (polled.status_code, polled.json()) == (200, {"state": "booked"})
    record = visitor.world.appointments()[0]
    assert (record.title, record.origin) == ("Meeting with Ann Onymous", "page")


def test_the_same_wish_after_a_lost_answer_is_the_same_hold(visitor: Visitor) -> None:
    answers = [visitor.hold(half(10), key=SECRET).json() for _ in range(2)]
    assert [one["state"] for one in answers] == ["held", "held"]
    assert answers[0]["hold"] == answers[1]["hold"]


@contextmanager
def held_up(owner: Engine) -> Iterator[Callable[[], None]]:
    """Whoever looks at what is free waits there until the end of the block; what is given waits until somebody does."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE relation = 'cursors'::regclass AND NOT granted")
    with owner.connect() as connection, connection.begin():
        connection.execute(text("LOCK TABLE cursors IN ACCESS EXCLUSIVE MODE"))

        def until_one_waits() -> None:
            until = time.monotonic() + 4
            while not connection.execute(waiting).scalar_one():
                assert time.monotonic() < until, "nobody came to look"
                time.sleep(0.01)

        yield until_one_waits


def overtaken(
    visitor: Visitor, owner: Engine, ask: Callable[[], requests.Response], *, by: Request
) -> tuple[requests.Response, Received]:
    """What is answered to a wish that has to wait while the same one, sent again, is decided; and what came of that one."""
    with ThreadPoolExecutor(1) as pool:
        with held_up(owner) as until_one_waits:
            slow = pool.submit(ask)
            until_one_waits()
            quick = receive(visitor.world.app, by)
            visitor.world.decide(quick.id)
        return slow.result(), quick


def test_a_hold_asked_for_twice_at_once_is_no_refusal(visitor: Visitor, owner_engine: Engine) -> None:
    body = times(half(10)) | {"version": 0, "key": SECRET}
    same = Request(f"page:{SECRET}", "dana", half(10), kind=Kind.HOLD, origin="page", slot_version=0, hold_seconds=300)
    sent, quick = overtaken(visitor, owner_engine, lambda: visitor.send("POST", "dana/holds", body=body), by=same)
    assert (sent.json()["state"], sent.json()["hold"]) == ("held", quick.hold)


def test_a_form_sent_twice_at_once_is_no_refusal(visitor: Visitor, owner_engine: Engine) -> None:
    typed = times(half(10)) | {"version": "0", "visit": SECRET} | GUEST
    guest = (Attendee(GUEST["name"], GUEST["email"]),)
    same = Request(
        f"book:{SECRET}",
        "dana",
        half(10),
        f"Meeting with {GUEST['name']}",
        origin="page",
        attendees=guest,
        slot_version=0,
        hold=SECRET,
    )
    sent, _ = overtaken(visitor, owner_engine, lambda: visitor.send("POST", "dana/form", data=typed), by=same)
    assert (sent.status_code, sent.headers.get("Location")) == (303, f"/book/dana/form/{SECRET}")
    assert "Booked" in visitor.send("GET", f"dana/form/{SECRET}").text


def test_who_comes_second_is_told_what_is_free(visitor: Visitor, web: Web) -> None:
    visitor.hold(half(10))
    late = Visitor(web, "203.0.113.9", visitor.world).hold(half(10))
    answer = late.json()
    assert (late.status_code, answer["state"], answer["reason"]) == (409, "refused", "not_offered")
    assert len(answer["alternatives"]) == 5
    assert half(10).start.strftime("%Y-%m-%dT%H:%M:%SZ") not in {one["start"] for one in answer["alternatives"]}
    assert answer["alternatives"][0].keys() == {"start", "end", "version"}


def test_a_person_on_the_master_whom_nobody_has_read_yet_wins(visitor: Visitor) -> None:
    visitor.world.master.put(half(10), "Dentist")
    answer = visitor.hold(half(10))
    assert (answer.status_code, answer.json()["reason"]) == (409, "master_busy")
    starts = [one["start"] for one in answer.json()["alternatives"]]
    assert f"{half(10).start:%Y-%m-%dT%H:%M:%SZ}" not in starts
    assert visitor.world.slots("held") == []
    assert "Dentist" not in answer.text


def test_a_version_that_was_overtaken_is_stale(visitor: Visitor) -> None:
    held = visitor.hold(half(10)).json()["hold"]
    assert visitor.send("DELETE", f"dana/holds/{held}").status_code == 204
    visitor.world.settle()
    answer = visitor.hold(half(10), version=0).json()
    assert (answer["state"], answer["reason"]) == ("refused", "stale")
    assert visitor.hold(half(10), version=answer["alternatives"][0]["version"]).json()["state"] == "held"


def test_a_hold_that_ran_out_still_books_what_is_free_and_nothing_else(visitor: Visitor) -> None:
    holds = [visitor.hold(half(hour)).json()["hold"] for hour in (10, 11)]
    visitor.world.sql("UPDATE slots SET held_until = clock_timestamp() - interval '1 ms', version = version")
    assert visitor.send("GET", f"dana/holds/{holds[0]}").json()["state"] == "expired"
    visitor.world.ask(half(11))
    visitor.world.settle()
    assert visitor.outcome(half(10), holds[0])["state"] == "booked"
    answer = visitor.outcome(half(11), holds[1])
    assert (answer["state"], len(answer["alternatives"])) == ("refused", 5)


def test_a_hold_books_its_own_time_only(visitor: Visitor) -> None:
    held = visitor.hold(half(10)).json()["hold"]
    answer = visitor.book(Interval(half(10).start, half(12).end), held).json()
    assert (answer["state"], answer["reason"]) == ("refused", "not_offered")
    assert visitor.world.booked() == []


def test_what_is_undecided_is_being_checked(visitor: Visitor) -> None:
    body = times(half(10)) | {"key": SECRET}
    asked = visitor.send("POST", "dana/holds", body=body)
    secret = asked.json()["hold"]
    assert (asked.status_code, asked.json()["state"]) == (202, "checking")
    booking = visitor.send("POST", "dana/bookings", body=times(half(10)) | GUEST | {"hold": secret})
    assert (booking.status_code, booking.json()) == (202, {"state": "checking", "reason": "hold"})
    visitor.world.settle()
    assert visitor.send("GET", f"dana/holds/{secret}").json()["state"] == "held"


@pytest.mark.parametrize(
    "wanted",
    [
        Interval(datetime.now(UTC) - timedelta(hours=3), datetime.now(UTC) - timedelta(hours=2.5)),
        Interval(half(10).start, half(11).end),
        Interval(half(10).start + timedelta(minutes=7), half(10).end + timedelta(minutes=7)),
        Interval(half(10).start + timedelta(days=300), half(10).end + timedelta(days=300)),
    ],
    ids=["past", "too long", "between", "too far"],
)
def test_what_is_not_offered_is_not_even_asked(visitor: Visitor, wanted: Interval) -> None:
    answer = visitor.hold(wanted)
    assert (answer.status_code, answer.json()["reason"]) == (409, "not_offered")
    assert visitor.world.proposals() == []


OTHER_SITES: tuple[dict[str, str], ...] = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "OWN"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {},
)


def test_other_sites_may_not_post(visitor: Visitor) -> None:
    body = times(half(10)) | {"key": SECRET}
    ways = (("POST", "holds"), ("POST", "bookings"), ("POST", "form"), ("DELETE", f"holds/{SECRET}"))
    for headers, (method, path) in itertools.product(OTHER_SITES, ways):
        told = {"Sec-Fetch-Site": None} | {name: one.replace("OWN", visitor.web.url) for name, one in headers.items()}
        assert visitor.send(method, f"dana/{path}", body=body, headers=told).status_code == 403, (headers, path)
    assert visitor.world.proposals() == []


def test_a_browser_that_names_only_its_origin_may_post(passer: Passer) -> None:
    told = {"Sec-Fetch-Site": None, "Origin": passer.web.url}
    answer = passer.send("POST", "dana/holds", body={}, headers=told)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"start": None}, {"start"}),
        ({"start": "2027-03-08T15:00:00"}, {"start"}),
        ({"end": half(9).start.isoformat()}, {"end"}),
        ({"version": -1}, {"version"}),
        ({"key": "short"}, {"key"}),
        ({"key": "x" * 22 + "\n"}, {"key"}),
        ({"key": None}, {"key"}),
        ({"agent": "ben"}, {"agent"}),
    ],
)
def test_a_wrong_wish_is_refused_by_its_field(passer: Passer, changed: dict[str, Any], wrong: set[str]) -> None:
    body = times(half(10)) | {"key": SECRET} | changed
    answer = passer.send("POST", "dana/holds", body=body)
    assert (answer.status_code, {one["field"] for one in answer.json()["errors"]}) == (422, wrong)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 201},
        {"name": "a\0b"},
        {"name": 7},
        {"email": "ann"},
        {"email": "ann@ex ample.com"},
        {"email": f"{'x' * 320}@e"},
        {"hold": "../../etc"},
        {"note": "hello"},
    ],
)
def test_a_wrong_guest_is_refused_by_the_field(passer: Passer, changed: dict[str, Any]) -> None:
    body = times(half(10)) | GUEST | {"hold": SECRET} | changed
    answer = passer.send("POST", "dana/bookings", body=body)
    assert (answer.status_code, {one["field"] for one in answer.json()["errors"]}) == (422, set(changed))


def test_only_json_of_a_small_size_is_read(passer: Passer) -> None:
    answers = [
        passer.send("POST", "dana/holds", data=data, headers={"Content-Type": content})
        for data, content in (
            ("{}", "text/plain"),
            ("a=b", "application/x-www-form-urlencoded"),
            ("{", "application/json"),
            (b" " * 5000, "application/json"),
        )
    ]
    assert [one.status_code for one in answers] == [415, 415, 422, 413]


@pytest.mark.parametrize("agent", ["nobody", "Dana", "%00", "dana%0a", "x" * 64])
def test_nobody_is_nobody_at_every_address(passer: Passer, agent: str) -> None:
    page = passer.send("GET", agent)
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    form = "&".join(f"{name}={value}" for name, value in (times(half(10)) | GUEST | {"visit": SECRET}).items())
    told = {"Content-Type": "application/x-www-form-urlencoded"}
    answers = [
        passer.send("GET", f"{agent}/form?start={half(10).start:%Y-%m-%dT%H:%M:%SZ}&visit={SECRET}"),
        passer.send("POST", f"{agent}/form", data=form.replace("+", "%2B"), headers=told),
        passer.send("GET", f"{agent}/form/{SECRET}"),
        passer.send("POST", f"{agent}/holds", body=times(half(10)) | {"key": SECRET}),
        passer.send("POST", f"{agent}/bookings", body=times(half(10)) | GUEST | {"hold": SECRET}),
        passer.send("GET", f"{agent}/bookings/{SECRET}"),
        passer.send("GET", f"{agent}/openings?from=2027-01-01T00:00:00Z&to=2027-01-02T00:00:00Z"),
    ]
    assert {one.status_code for one in answers} <= {404, 422}


def test_a_secret_that_nobody_was_given_opens_nothing(visitor: Visitor) -> None:
    for method, path in (("GET", "holds"), ("DELETE", "holds"), ("GET", "bookings")):
        assert visitor.send(method, f"dana/{path}/{SECRET}").status_code == 404
    assert visitor.send("GET", f"dana/bookings/{SECRET}/meeting.ics").status_code == 404
    assert visitor.book(half(10), SECRET).status_code == 404


def test_a_hold_is_its_own_agents_only(visitor: Visitor) -> None:
    visitor.world.add_agent("ben")
    held = visitor.hold(half(10)).json()["hold"]
    for method in ("GET", "DELETE"):
        assert visitor.send(method, f"ben/holds/{held}").status_code == 404
    assert visitor.world.slots("held") == [half(10)]


def test_one_address_keeps_three_times_at_once(visitor: Visitor, web: Web) -> None:
    holds = [visitor.hold(half(hour)).json()["hold"] for hour in (8, 9, 10)]
    fourth = visitor.hold(half(11))
    assert (fourth.status_code, 0 < int(fourth.headers["Retry-After"]) <= 300) == (429, True)
    assert Visitor(web, "203.0.113.77", visitor.world).hold(half(12)).status_code == 201
    assert visitor.send("DELETE", f"dana/holds/{holds[0]}").status_code == 204
    assert visitor.hold(half(11)).status_code == 201


def test_an_address_that_posts_too_often_is_told_when_to_come_back(visitor: Visitor, web: Web) -> None:
    answers = [visitor.send("POST", "dana/holds", body={}) for _ in range(31)]
    assert [one.status_code for one in answers] == [422] * 30 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert visitor.send("GET", "dana").status_code == 200
    assert Passer(web, "203.0.113.78").send("POST", "dana/holds", body={}).status_code == 422


def test_neighbours_with_one_ipv6_prefix_count_as_one(web: Web) -> None:
    for number in range(30):
        Passer(web, f"2001:db8::{number + 1:x}").send("POST", "dana/holds", body={})
    assert Passer(web, "2001:db8::ffff").send("POST", "dana/holds", body={}).status_code == 429
    assert Passer(web, "2001:db8:0:1::1").send("POST", "dana/holds", body={}).status_code == 422


def test_the_page_lists_utc_and_nothing_of_the_agent_but_the_name(visitor: Visitor) -> None:
    visitor.world.book(half(10), "Secret cellar")
    answer = visitor.send("GET", "dana")
    found = re.findall(r'<time datetime="([^"]+)">', answer.text)
    assert f"{half(9).start:%Y-%m-%dT%H:%M:%SZ}" in found
    assert f"{half(10).start:%Y-%m-%dT%H:%M:%SZ}" not in found
    assert all(one.endswith("Z") for one in found)
    assert not re.search(r"Secret|Chicago|dana-master|@", answer.text)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert not re.search(r"<script>|<style|style=|onclick|https?://", answer.text)
    assert (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


def test_files_of_the_page_are_kept_under_the_address_of_their_content(visitor: Visitor) -> None:
    page = visitor.send("GET", "dana").text
    for path in re.findall(r'(?:href|src)="(/static/[^"]+)"', page):
        answers = [requests.get(visitor.web.url + one, timeout=20) for one in (path, path.partition("?")[0])]
        assert [one.status_code for one in answers] == [200, 200]
        assert [one.headers["Cache-Control"] for one in answers] == ["public, max-age=31536000, immutable", "no-cache"]
    assert requests.get(f"{visitor.web.url}/static/..%2fapp.py", timeout=20).status_code == 404


def test_one_job_that_read_the_master_is_enough(visitor: Visitor, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("DELETE FROM cursors"))
    assert "Times are being checked." in visible(visitor.send("GET", "dana").text)
    visitor.world.detect(Job.NEW, "dana-mirror")
    assert "Times are being checked." in visible(visitor.send("GET", "dana").text)
    visitor.world.detect(Job.NEW, "dana-master")
    page = visible(visitor.send("GET", "dana").text)
    assert ("Times are being checked." in page, "<time" in page) == (False, True)


def visible(page: str) -> str:
    return re.sub(r"<p[^>]* hidden>.*?</p>", "", page)


@pytest.mark.parametrize("away", ["stopped", "old"])
def test_a_master_that_is_not_read_offers_nothing(visitor: Visitor, owner_engine: Engine, away: str) -> None:
    statements = {
        "stopped": "UPDATE calendars SET stopped_code = 'credential_revoked' WHERE role = 'master'",
        "old": "UPDATE cursors SET read_at = read_at - interval '9 minutes'",
    }
    with owner_engine.begin() as connection:
        connection.execute(text(statements[away]))
    page = visible(visitor.send("GET", "dana").text)
    assert "Times are being checked." in page
    assert "<time" not in page
    span = f"from={half(0).start:%Y-%m-%dT%H:%M:%SZ}&to={half(24).start:%Y-%m-%dT%H:%M:%SZ}"
    assert visitor.send("GET", f"dana/openings?{span}").json() == {"checking": True, "openings": []}


def test_how_old_a_picture_may_be_follows_the_schedule(visitor: Visitor, owner_engine: Engine) -> None:
    """An operator who has calendars read every five minutes does not close the booking page."""
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE cursors SET read_at = read_at - interval '9 minutes'"))
        row = "INSERT INTO beat_jobs (name, task, every_seconds, next_slot) VALUES (:name, :name, 300, now())"
        connection.execute(text(row), {"name": "NewAppointmentSync"})
    page = visible(visitor.send("GET", "dana").text)
    assert ("Times are being checked." in page, "<time" in page) == (False, True)


def test_a_booking_can_be_saved_when_it_is_certain(visitor: Visitor) -> None:
    held = visitor.hold(half(10)).json()["hold"]
    assert visitor.send("GET", f"dana/bookings/{held}/meeting.ics").status_code == 404
    visitor.book(half(10), held)
    visitor.world.settle()
    saved = visitor.send("GET", f"dana/bookings/{held}/meeting.ics")
    assert saved.headers["Content-Type"].startswith("text/calendar")
    assert f"DTSTART:{half(10).start:%Y%m%dT%H%M%SZ}\r\n" in saved.text
    assert "SUMMARY:Meeting with Dana\r\n" in saved.text


def test_what_people_type_is_markup_nowhere_and_in_no_log(visitor: Visitor) -> None:
    typed = {"start": f"{half(10).start:%Y-%m-%dT%H:%M:%SZ}", "end": f"{half(10).end:%Y-%m-%dT%H:%M:%SZ}"}
    typed |= {"visit": SECRET, "name": "<b>Ann", "email": "nonsense"}
    told = {"Content-Type": "application/x-www-form-urlencoded"}
    wrong = visitor.send("POST", "dana/form", data=typed, headers=told)
    assert (wrong.status_code, "<b>Ann" in wrong.text, "&lt;b&gt;Ann" in wrong.text) == (422, False, True)
    sent = visitor.wait(lambda: visitor.send("POST", "dana/form", data=typed | GUEST, headers=told))
    assert (sent.status_code, sent.headers["Location"]) == (303, f"/book/dana/form/{SECRET}")
    visitor.world.settle()
    assert "Booked" in visitor.send("GET", f"dana/form/{SECRET}").text
    held = visitor.hold(half(12)).json()["hold"]
    visitor.book(half(12), held)
    visitor.book(half(12), held, name="\ud800")
    log = visitor.web.log.read_text()
    assert [word for word in (*PRIVATE, "nonsense", SECRET, held) if word in log] == []
