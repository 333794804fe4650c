"""Pushes of the vendors over real HTTP: what is genuine is kept once and hints, everything else leaves no trace."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis
import requests
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

import models.push  # noqa: F401 - its tables count too
from models.base import Base
from tests.integration import pushing
from tests.integration.pushing import APP_SECRET, KEY, Post
from tests.integration.served import Web, migrated, serve
from workers.embedded import EmbeddedPostgres, EmbeddedValkey

MOST = 256 * 1024
OUTLOOK, GOOGLE, HUBSPOT, CALCOM, OTHER = range(1, 6)
ROWS = """
    INSERT INTO calendars (id, agent_id, provider, remote, role)
    SELECT row.id, agents.id, row.provider, row.remote, row.role FROM agents, (VALUES
        (1, 'outlook', 'dana@example.com', 'master'), (2, 'google', 'dana@example.com', 'mirror'),
        (3, 'hubspot', '42', 'source'), (4, 'calcom', 'dana@example.com', 'source'), (5, 'outlook', 'o@example.com', 'mirror')
    ) AS row (id, provider, remote, role)
"""
CHANNELS = """
    INSERT INTO channels (calendar_id, remote_id, previous_id, previous_until, opened_at, expires_at) VALUES
        (1, 'outlook-1', 'outlook-0', now() + interval '1 hour', now(), now() + interval '2 days'),
        (2, 'google-1', 'google-0', now() - interval '1 second', now(), now() + interval '2 days'),
        (4, 'calcom-1', NULL, NULL, now(), now() + interval '2 days')
"""
QUEUES = ("new", "cancel", "update", "upkeep")


@dataclass
class Stage:
    web: Web
    engine: Engine
    broker: str

    def post(self, push: Post) -> requests.Response:
        return requests.post(f"{self.web.url}/webhooks/{push.path}", data=push.body, headers=push.headers, timeout=20)

    def hubspot(self, **details: Any) -> Post:  # noqa: ANN401 - as pushing.hubspot has them
        return pushing.hubspot(self.web.url, **details)

    def rows(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            return {
                name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608
                for name in Base.metadata.tables
            }

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    def hinted(self) -> set[tuple[int, str]]:
        return {
            (row[0], row[1]) for row in self.sql("SELECT calendar_id, job FROM cursors WHERE hinted_at IS NOT NULL")
        }

    def messages(self, *, at_least: int = 0) -> list[tuple[str, list[int]]]:
        """Task and arguments of every message that waits, once there are so many."""
        with redis.Redis.from_url(self.broker, decode_responses=True) as broker:
            found: list[str] = []
            for _ in range(600):
                found = [message for queue in QUEUES for message in broker.lrange(queue, 0, -1)]
                if len(found) >= at_least:
                    return sorted(_task(message) for message in found)
                threading.Event().wait(0.02)
        raise AssertionError(f"only {len(found)} messages")

    def forget(self) -> None:
        self.sql("DELETE FROM deliveries")
        self.sql("DELETE FROM cursors")
        self.sql("DELETE FROM channels")
        self.sql(CHANNELS)
        with redis.Redis.from_url(self.broker) as broker:
            broker.delete(*QUEUES)


def _task(message: str) -> tuple[str, list[int]]:
    headers = json.loads(message)["headers"]
    return headers["task"], [int(part) for part in headers["argsrepr"].strip("(),").split(",")[:1] if part.isdecimal()]


@pytest.fixture(scope="module")
def served(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings = {"WATERTIGHT_WEBHOOK_KEY": KEY, "WATERTIGHT_HUBSPOT_CLIENT_SECRET": APP_SECRET}
    owner = postgres.url().replace("/watertight?", "/webhooks?")
    with (
        EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as valkey,
        migrated(postgres, "webhooks") as database,
        serve(
            tmp_path_factory.mktemp("webhooks"), database_url=database, **settings, WATERTIGHT_BROKER_URL=valkey.url()
        ) as web,
    ):
        engine = create_engine(owner, poolclass=NullPool)
        stage = Stage(web, engine, valkey.url())
        stage.sql(ROWS)
        yield stage


@pytest.fixture
def stage(served: Stage) -> Stage:
    served.forget()
    return served


GENUINE: dict[str, tuple[Callable[[Stage], Post], int, set[tuple[int, str]]]] = {
    "outlook created": (lambda _: pushing.outlook(OUTLOOK, change="created"), 202, {(OUTLOOK, "new")}),
    "outlook updated": (lambda _: pushing.outlook(OUTLOOK), 202, {(OUTLOOK, "update")}),
    "outlook deleted": (lambda _: pushing.outlook(OUTLOOK, change="deleted"), 202, {(OUTLOOK, "cancel")}),
    "outlook missed": (
        lambda _: pushing.notice(OUTLOOK, "missed"),
        202,
        {(OUTLOOK, job) for job in ("new", "cancel", "update")},
    ),
    "google": (lambda _: pushing.google(GOOGLE), 200, {(GOOGLE, job) for job in ("new", "cancel", "update")}),
    "hubspot": (lambda stage: stage.hubspot(), 202, {(HUBSPOT, "new")}),
    "hubspot changed": (lambda stage: stage.hubspot(kind="propertyChange"), 202, {(HUBSPOT, "update")}),
    "calcom": (lambda _: pushing.calcom(CALCOM), 202, {(CALCOM, "new")}),
    "calcom cancelled": (lambda _: pushing.calcom(CALCOM, trigger="BOOKING_CANCELLED"), 202, {(CALCOM, "cancel")}),
}
TASK_OF = {"new": "NewAppointmentSync.calendar", "cancel": "CancellationSync.calendar", "update": "UpdateSync.calendar"}


@pytest.mark.parametrize("name", GENUINE)
def test_a_genuine_push_three_times_at_once_has_one_effect(stage: Stage, name: str) -> None:
    make, accepted, hinted = GENUINE[name]
    push = make(stage)
    with ThreadPoolExecutor(3) as pool:
        statuses = Counter(answer.status_code for answer in pool.map(stage.post, [push] * 3))
    assert statuses == Counter([accepted, 200, 200])
    assert stage.rows()["deliveries"] == 1
    assert stage.hinted() == hinted
    assert stage.messages(at_least=len(hinted)) == sorted((TASK_OF[job], [calendar]) for calendar, job in hinted)
    assert stage.post(push).status_code == 200
    assert stage.rows()["deliveries"] == 1


def nested(levels: int) -> bytes:
    return b'{"value":' * levels + b"1" + b"}" * levels


REFUSED: dict[str, tuple[Callable[[Stage], Post], int]] = {
    "outlook forged": (lambda _: pushing.outlook(OUTLOOK, clientState="1.forged"), 401),
    "outlook without state": (lambda _: pushing.outlook(OUTLOOK, clientState=None), 401),
    "outlook with another calendar's channel": (lambda _: pushing.outlook(OTHER), 404),
    "outlook of a channel that is not ours": (lambda _: pushing.outlook(OUTLOOK, channel="theirs"), 404),
    "outlook of a calendar that is none": (lambda _: pushing.outlook(99), 404),
    "outlook wrong type": (lambda _: typed(pushing.outlook(OUTLOOK), "text/plain"), 415),
    "outlook not JSON": (lambda _: replace(pushing.outlook(OUTLOOK), body=b"{"), 422),
    "outlook too deep": (lambda _: replace(pushing.outlook(OUTLOOK), body=nested(30)), 422),
    "outlook much too deep": (lambda _: replace(pushing.outlook(OUTLOOK), body=nested(20_000)), 422),
    "outlook oversized": (lambda _: replace(pushing.outlook(OUTLOOK), body=b" " * (MOST + 1)), 413),
    "outlook odd": (lambda _: pushing.outlook(OUTLOOK, change="moved"), 422),
    "google forged": (lambda _: pushing.google(GOOGLE, token="2.forged"), 401),
    "google with another vendor's token": (lambda _: pushing.google(GOOGLE, token=outlook_token()), 401),
    "google of a channel that has ended": (lambda _: pushing.google(GOOGLE, channel="google-0"), 404),
    "google oversized": (lambda _: replace(pushing.google(GOOGLE), body=b" " * (MOST + 1)), 413),
    "google odd": (lambda _: pushing.google(GOOGLE, state="odd"), 422),
    "hubspot forged": (lambda stage: stage.hubspot(secret="not the secret"), 401),
    "hubspot stale": (lambda stage: stage.hubspot(age=301), 401),
    "hubspot of tomorrow": (lambda stage: stage.hubspot(age=-301), 401),
    "hubspot for another address": (lambda _: pushing.hubspot("https://elsewhere.example"), 401),
    "hubspot wrong type": (lambda stage: typed(stage.hubspot(), "application/x-www-form-urlencoded"), 415),
    "hubspot not JSON": (lambda stage: stage.hubspot(body=b"[{]"), 422),
    "hubspot too deep": (lambda stage: stage.hubspot(body=b"[" * 30 + b"]" * 30), 422),
    "hubspot too many": (lambda stage: stage.hubspot(body=json.dumps([{}] * 101).encode()), 422),
    "hubspot oversized": (lambda stage: stage.hubspot(body=b" " * (MOST + 1)), 413),
    "calcom forged": (lambda _: pushing.calcom(CALCOM, signature="0" * 64), 401),
    "calcom without secret": (lambda _: pushing.calcom(CALCOM, signature="no-secret-provided"), 401),
    "calcom for another calendar": (lambda _: replace(pushing.calcom(CALCOM), path="calcom?calendar=1"), 401),
    "calcom of a calendar without channel": (lambda _: pushing.calcom(HUBSPOT), 404),
    "calcom without calendar": (lambda _: replace(pushing.calcom(CALCOM), path="calcom"), 422),
    "calcom wrong type": (lambda _: typed(pushing.calcom(CALCOM), "text/html"), 415),
    "calcom not JSON": (lambda _: pushing.calcom(CALCOM, body=b"nothing"), 422),
    "calcom too deep": (lambda _: pushing.calcom(CALCOM, body=nested(30)), 422),
    "calcom oversized": (lambda _: pushing.calcom(CALCOM, body=b" " * (MOST + 1)), 413),
    "nobody's": (lambda _: replace(pushing.google(GOOGLE), path="icloud"), 404),
}


def typed(push: Post, content_type: str) -> Post:
    return replace(push, headers=push.headers | {"Content-Type": content_type})


def outlook_token() -> str:
    return str(json.loads(pushing.outlook(GOOGLE).body)["value"][0]["clientState"])


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_and_leaves_no_trace(stage: Stage, name: str) -> None:
    make, status = REFUSED[name]
    before = stage.rows()
    answer = stage.post(make(stage))
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"].startswith("urn:watertight:")
    assert (stage.rows(), stage.hinted()) == (before, set())


@pytest.mark.parametrize(
    "make", [lambda: pushing.google(GOOGLE, state="sync"), lambda: pushing.calcom(CALCOM, trigger="RECORDING_READY")]
)
def test_a_push_that_tells_nothing_is_well_received(stage: Stage, make: Callable[[], Post]) -> None:
    before = stage.rows()
    assert stage.post(make()).status_code == 200
    assert (stage.rows(), stage.hinted()) == (before, set())


def test_too_much_in_pieces_is_not_read_either(stage: Stage) -> None:
    chunks = (b" " * 64 * 1024 for _ in range(5))
    url, headers = f"{stage.web.url}/webhooks/outlook", {"Content-Type": "application/json"}
    assert requests.post(url, data=chunks, headers=headers, timeout=20).status_code == 413


def test_a_channel_that_was_replaced_counts_until_it_ends(stage: Stage) -> None:
    assert stage.post(pushing.outlook(OUTLOOK, channel="outlook-0")).status_code == 202
    stage.sql("UPDATE channels SET previous_until = now() - interval '1 second'")
    assert stage.post(pushing.outlook(OUTLOOK, channel="outlook-0")).status_code == 404


def test_of_a_mixed_delivery_what_is_ours_is_taken(stage: Stage) -> None:
    one, other = (json.loads(push.body)["value"] for push in (pushing.outlook(OUTLOOK), pushing.outlook(OTHER)))
    body = json.dumps({"value": [*one, *other]}).encode()
    assert stage.post(replace(pushing.outlook(OUTLOOK), body=body)).status_code == 202
    assert (stage.rows()["deliveries"], stage.hinted()) == (1, {(OUTLOOK, "update")})


@pytest.mark.parametrize("token", ["plain", "Validation: Testing \u00e4 & <b>bold</b>", "x" * 1000])
def test_graph_s_question_is_answered_with_its_own_words_as_plain_text(stage: Stage, token: str) -> None:
    url = f"{stage.web.url}/webhooks/outlook"
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    answer = requests.post(url, params={"validationToken": token}, headers=headers, timeout=20)
    assert (answer.status_code, answer.content.decode()) == (200, token)
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("token", ["", "x" * 1001])
def test_a_question_that_is_none_is_not_answered(stage: Stage, token: str) -> None:
    url = f"{stage.web.url}/webhooks/outlook"
    assert requests.post(url, params={"validationToken": token}, timeout=20).status_code == 422


def test_fifty_pushes_are_one_message_for_each_job(stage: Stage) -> None:
    pushes = [pushing.google(GOOGLE) for _ in range(30)] + [pushing.outlook(OUTLOOK) for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(stage.post, pushes)} == {200, 202}
    assert stage.rows()["deliveries"] == 50
    expected = [(task, [GOOGLE]) for task in TASK_OF.values()] + [(TASK_OF["update"], [OUTLOOK])]
    assert stage.messages(at_least=4) == sorted(expected)


def test_a_message_shows_agent_and_calendar_as_those_of_a_poll_do(stage: Stage) -> None:
    stage.post(pushing.outlook(OUTLOOK))
    stage.messages(at_least=1)
    with redis.Redis.from_url(stage.broker, decode_responses=True) as broker:
        (message,) = broker.lrange("update", 0, -1)
    assert json.loads(message)["headers"]["argsrepr"] == f"({OUTLOOK}, 'dana', 'outlook master')"


def test_a_calendar_that_is_stopped_or_put_off_is_woken_later(stage: Stage) -> None:
    stage.sql("INSERT INTO cursors (calendar_id, job, not_before) VALUES (1, 'update', now() + interval '1 hour')")
    stage.sql("UPDATE calendars SET stopped_code = 'mass_change' WHERE provider = 'calcom'")
    try:
        assert [stage.post(push).status_code for push in (pushing.outlook(OUTLOOK), pushing.calcom(CALCOM))] == [
            202
        ] * 2
        assert stage.post(pushing.outlook(OUTLOOK, change="created")).status_code == 202
    finally:
        stage.sql("UPDATE calendars SET stopped_code = NULL")
    assert stage.messages(at_least=1) == [(TASK_OF["new"], [OUTLOOK])]
    assert stage.hinted() == {(OUTLOOK, "update"), (OUTLOOK, "new"), (CALCOM, "new")}


def test_a_push_makes_a_silent_channel_good(stage: Stage) -> None:
    stage.sql("UPDATE channels SET unannounced = 5")
    stage.post(pushing.google(GOOGLE))
    rows = stage.sql("SELECT calendar_id, unannounced, last_hint_at IS NOT NULL FROM channels ORDER BY 1")
    assert rows == [(OUTLOOK, 5, False), (GOOGLE, 0, True), (CALCOM, 5, False)]


def test_a_subscription_that_graph_removed_is_made_again_at_once(stage: Stage) -> None:
    assert stage.post(pushing.notice(OUTLOOK, "subscriptionRemoved")).status_code == 202
    assert stage.sql("SELECT remote_id FROM channels WHERE calendar_id = 1") == [(None,)]
    assert {job for _, job in stage.hinted()} == {"new", "cancel", "update"}
    assert ("RenewSubscriptions", []) in stage.messages(at_least=4)


def test_a_subscription_that_needs_a_new_permission_is_renewed_at_once(stage: Stage) -> None:
    assert stage.post(pushing.notice(OUTLOOK, "reauthorizationRequired")).status_code == 202
    query = "SELECT remote_id, expires_at <= clock_timestamp() FROM channels WHERE calendar_id = 1"
    assert stage.sql(query) == [("outlook-1", True)]
    assert stage.messages(at_least=1) == [("RenewSubscriptions", [])]


def test_a_meeting_is_looked_for_where_it_was_seen(stage: Stage) -> None:
    stage.sql(
        "INSERT INTO calendars (id, agent_id, provider, remote, role) SELECT 6, id, 'hubspot', '43', 'source' FROM agents"
    )
    stage.sql("INSERT INTO sightings (calendar_id, remote_id, deleted) VALUES (6, '4711', true)")
    try:
        assert stage.post(stage.hubspot(kind="deletion", number=4711)).status_code == 202
        assert stage.hinted() == {(6, "cancel")}
        assert stage.post(stage.hubspot(kind="creation", number=4712)).status_code == 202
        assert stage.hinted() == {(6, "cancel"), (6, "new"), (HUBSPOT, "new")}
    finally:
        for table in ("sightings", "cursors"):
            stage.sql(f"DELETE FROM {table} WHERE calendar_id = 6")  # noqa: S608
        stage.sql("DELETE FROM calendars WHERE id = 6")


def test_the_log_tells_why_a_push_was_refused_and_nothing_that_it_said(stage: Stage) -> None:
    stage.post(pushing.calcom(CALCOM, signature="no-secret-provided"))
    stage.post(pushing.calcom(CALCOM, body=b'{"triggerEvent": 7, "title": "Secret cellar"}'))
    log = stage.web.log.read_text()
    assert "no_secret_provided" in log
    assert "webhooks.malformed" in log
    assert [word for word in (KEY, APP_SECRET, "Secret cellar", "dana@", outlook_token()) if word in log] == []


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    url = "postgresql+psycopg://app:swordfish@127.0.0.1:1/watertight"
    with serve(tmp_path_factory.mktemp("cut-off"), database_url=url, WATERTIGHT_WEBHOOK_KEY=KEY) as served:
        yield served


def test_the_database_is_asked_only_about_genuine_pushes(cut_off: Web) -> None:
    def post(push: Post) -> int:
        url = f"{cut_off.url}/webhooks/{push.path}"
        return requests.post(url, data=push.body, headers=push.headers, timeout=20).status_code

    assert post(pushing.outlook(OUTLOOK, clientState="1.forged")) == 401
    assert post(pushing.google(GOOGLE, token="2.forged")) == 401
    assert post(pushing.calcom(CALCOM, signature="forged")) == 401
    assert post(pushing.google(GOOGLE, state="sync")) == 200
    assert requests.post(f"{cut_off.url}/webhooks/outlook?validationToken=x", timeout=20).text == "x"
    assert post(pushing.outlook(OUTLOOK)) == post(pushing.calcom(CALCOM)) == 503
    assert post(pushing.hubspot(cut_off.url)) == 404, "no client secret: HubSpot is not connected"
