"""Who gets into the console, and who may change something there, over real HTTP."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from fastapi import Response
from fastapi.routing import APIRoute
from sqlalchemy import Engine, text

from models.session import Sessions, transaction
from sync.actions import Actor
from sync.passwords import DECOY, hash_password, is_password
from sync.schedule import list_jobs
from sync.users import Role, disable_user, find_login, open_login, set_password
from tests.conftest import Shared
from tests.integration.commands import Commands, typed
from tests.integration.console import (
    PASSWORD,
    fields_of,
    open_console,
    register,
    sign_in,
    signed_in,
    stranger,
)
from tests.integration.served import Web, serve
from workers import app as application
from workers.scheduler import install_defaults
from workers.settings import Settings
from workers.web.console.door import cookie_name, delete_cookie, set_cookie
from workers.web.console.pages import PARTS
from workers.web.console.sign_in import PER_ADDRESS, PER_NAME
from workers.web.rates import Rates

LOGIN = "watertight-console"
US = Actor("test", "cli")
ROUTES = [route for part in PARTS for route in part.routes if isinstance(route, APIRoute)]
PAGES = sorted({route.path for route in ROUTES if "GET" in (route.methods or ())} - {"/console/sign-in"})
POSTS = sorted(route.path for route in ROUTES if "POST" in (route.methods or ()))


@pytest.fixture(scope="module")
def web(shared: Shared, broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with open_console(shared, broker, tmp_path_factory.mktemp("console")) as served:
        yield served


@pytest.fixture
def watertight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, owner_engine: Engine
) -> Iterator[Commands]:
    with typed(monkeypatch, capsys, state_dir=tmp_path) as commands:
        commands.env["DATABASE_URL"] = owner_engine.url.set(username="watertight_app").render_as_string()
        yield commands


@pytest.fixture
def scheduled(app_sessions: Sessions) -> Sessions:
    install_defaults(app_sessions, Settings())
    return app_sessions


def rows(engine: Engine, statement: str) -> list[tuple[object, ...]]:
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def filled(path: str) -> str:
    """An address that a route has, without /console."""
    return re.sub(r"\{[^}]*\}", "1", path).removeprefix("/console")


def test_every_way_in_is_known() -> None:
    """A new route without a thought about who may use it fails here."""
    assert ("/console" in PAGES, len(PAGES) >= 10) == (True, True)
    assert {type(route).__qualname__.partition(".")[0] for route in ROUTES} == {"guarded"}
    assert sum(len(part.routes) for part in PARTS) == len(ROUTES)


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_a_page_without_signing_in(web: Web, app_sessions: Sessions, path: str) -> None:
    """On loopback neither, though the API is open there."""
    assert app_sessions
    answer = stranger(web).get(filled(path))
    assert (answer.status_code, answer.text) == (303, "")
    assert answer.headers["Location"].startswith("/console/sign-in?next=%2Fconsole")


@pytest.mark.parametrize("path", POSTS)
def test_nobody_changes_anything_without_signing_in(web: Web, app_sessions: Sessions, path: str) -> None:
    assert app_sessions
    answer = stranger(web).post(filled(path), data={"token": "1", "name": "x", "password": "y"})
    expected = (403, None) if path.endswith("sign-in") else (303, "/console/sign-in?next=%2Fconsole")
    assert (answer.status_code, answer.headers.get("Location")) == expected


def test_name_and_password_open_the_door_and_sign_out_closes_it(
    web: Web, app_sessions: Sessions, owner_engine: Engine
) -> None:
    viewer = stranger(web)
    register(app_sessions, viewer)
    answer = sign_in(viewer, wanted="?next=%2Fconsole%2Fschedule")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/schedule")
    made = next(said for said in answer.raw.headers.getlist("Set-Cookie") if said.startswith(LOGIN))
    assert [word for word in ("HttpOnly", "SameSite=strict", "Path=/console") if word not in made] == []
    secret = viewer.cookies[LOGIN]
    assert secret not in str(rows(owner_engine, "SELECT * FROM logins"))
    assert viewer.get("").status_code == 200
    left = viewer.press("", "/sign-out")
    assert (left.status_code, left.headers["Location"]) == (303, "/console/sign-in")
    viewer.cookies[LOGIN] = secret
    assert viewer.get("").status_code == 303


def test_a_wrong_name_and_a_wrong_password_look_alike(web: Web, app_sessions: Sessions) -> None:
    known, unknown, gone = stranger(web), stranger(web), stranger(web)
    register(app_sessions, known)
    register(app_sessions, gone)
    with transaction(app_sessions) as session:
        disable_user(session, gone.name, by=US)
    answers = [sign_in(known, password="wrong password"), sign_in(unknown), sign_in(gone)]
    pages = [re.sub(r'value="[^"]*"', "", answer.text) for answer in answers]
    assert [answer.status_code for answer in answers] == [401] * 3
    assert (pages[0], pages[0]) == (pages[1], pages[2])
    assert "Name or password is wrong" in pages[0]


def test_nobody_s_password_is_hashed_like_anybody_s() -> None:
    """By the same parameters, so it takes the same time."""
    kept = hash_password(PASSWORD)
    assert DECOY.split("$")[:4] == kept.split("$")[:4]
    assert (is_password(PASSWORD, kept), is_password(PASSWORD, None), is_password("other password", kept)) == (
        True,
        False,
        False,
    )
    assert hash_password(PASSWORD) != kept


@pytest.mark.parametrize(("counted", "most"), [("name", PER_NAME), ("address", PER_ADDRESS)])
def test_guessing_is_slowed_down(web: Web, app_sessions: Sessions, broker: str, counted: str, most: int) -> None:
    """All attempts but one are made elsewhere: other processes count in the same place."""
    guesser = stranger(web)
    register(app_sessions, guesser)
    rates, key = Rates(broker, share=1), f"sign-in-{counted}:{getattr(guesser, counted)}"
    assert all(rates.take(key, most).taken for _ in range(most - 1))
    answers = [sign_in(guesser, password="a wrong password"), sign_in(guesser)]
    assert [answer.status_code for answer in answers] == [401, 429]
    assert ("Too many attempts" in answers[1].text, int(answers[1].headers["Retry-After"]) > 0) == (True, True)
    assert LOGIN not in guesser.cookies


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/console//evil.example",
        "/console/../book/dana",
        "/consolex",
        "/\\evil",
    ],
)
def test_signing_in_leads_nowhere_else(web: Web, app_sessions: Sessions, wanted: str) -> None:
    assert app_sessions
    shown = fields_of(stranger(web)._send("GET", "/sign-in", data={}).text, "/sign-in")
    assert shown["next"] == "/console"
    page = stranger(web).get(f"/sign-in?next={requests.utils.quote(wanted, safe='')}")  # type: ignore[attr-defined]
    assert fields_of(page.text, "/sign-in")["next"] == "/console"


def test_before_there_is_anybody_the_page_says_how_to_begin(web: Web, app_sessions: Sessions) -> None:
    assert "watertight users create NAME --role operator" in stranger(web).get("/sign-in").text
    register(app_sessions, stranger(web))
    assert "watertight users create" not in stranger(web).get("/sign-in").text


def test_a_viewer_sees_no_button_and_may_press_none(web: Web, scheduled: Sessions) -> None:
    viewer, operator = signed_in(scheduled, web, Role.VIEWER), signed_in(scheduled, web)
    seen, offered = viewer.get("/schedule").text, operator.get("/schedule").text
    assert ("/pause" in seen, "/pause" in offered) == (False, True)
    own = fields_of(seen, "/sign-out")
    answers = [viewer.post(filled(path), data=own) for path in POSTS if not path.endswith(("sign-in", "sign-out"))]
    assert {answer.status_code for answer in answers} == {403}
    assert all("Only operators may do that" in answer.text for answer in answers)
    with transaction(scheduled) as session:
        assert all(job.enabled for job in list_jobs(session))


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        ("", {}),
        ("somebody else's", {}),
        ("own", {"Sec_Fetch_Site": "cross-site"}),
        ("own", {"Sec_Fetch_Site": "same-site"}),
        ("own", {"Sec_Fetch_Site": None, "Origin": "https://evil.example"}),
        ("own", {"Sec_Fetch_Site": None}),
    ],
)
def test_a_form_of_another_site_or_login_changes_nothing(
    web: Web, scheduled: Sessions, token: str, headers: dict[str, str | None]
) -> None:
    operator, other = signed_in(scheduled, web), signed_in(scheduled, web)
    told = {
        "own": fields_of(operator.get("/schedule").text, "/sign-out")["token"],
        "somebody else's": fields_of(other.get("/schedule").text, "/sign-out")["token"],
    }
    answer = operator.post("/schedule/UpdateSync/pause", data={"token": told.get(token, "")}, **headers)
    assert (answer.status_code, "out of date" in answer.text) == (403, True)
    with transaction(scheduled) as session:
        assert all(job.enabled for job in list_jobs(session))


def test_nothing_is_changed_by_looking(web: Web, scheduled: Sessions) -> None:
    operator = signed_in(scheduled, web)
    token = fields_of(operator.get("/schedule").text, "/sign-out")["token"]
    answer = operator.get(f"/schedule/UpdateSync/pause?token={token}")
    assert answer.status_code in {404, 405}
    with transaction(scheduled) as session:
        assert all(job.enabled for job in list_jobs(session))


def test_who_is_disabled_or_has_a_new_password_is_out_at_once(web: Web, app_sessions: Sessions) -> None:
    disabled, renewed = signed_in(app_sessions, web), signed_in(app_sessions, web)
    assert [one.get("").status_code for one in (disabled, renewed)] == [200, 200]
    with transaction(app_sessions) as session:
        disable_user(session, disabled.name, by=US)
        set_password(session, renewed.name, "another long password", by=US)
    assert [one.get("").status_code for one in (disabled, renewed)] == [303, 303]


def test_a_login_ends_after_twelve_idle_hours_and_after_seven_days(
    web: Web, app_sessions: Sessions, owner_engine: Engine
) -> None:
    viewer = signed_in(app_sessions, web)
    left = "SELECT round(extract(epoch FROM expires_at - clock_timestamp()) / 3600.0) FROM logins"
    assert rows(owner_engine, left) == [(12,)]
    rows(
        owner_engine,
        "UPDATE logins SET last_used_at = last_used_at - interval '1 hour', expires_at = now() + interval '1 hour'",
    )
    assert viewer.get("").status_code == 200
    assert rows(owner_engine, left) == [(12,)]
    rows(
        owner_engine,
        "UPDATE logins SET created_at = now() - interval '6 days 21 hours', last_used_at = now() - interval '1 hour'",
    )
    assert viewer.get("").status_code == 200
    assert rows(owner_engine, left) == [(3,)]
    rows(owner_engine, "UPDATE logins SET expires_at = now()")
    assert viewer.get("").status_code == 303


def test_pages_let_no_foreign_code_in_and_are_kept_nowhere(web: Web, app_sessions: Sessions) -> None:
    viewer = signed_in(app_sessions, web)
    for answer in (viewer.get(""), viewer.get("/sign-in"), viewer.get("/nowhere"), stranger(web).get("")):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert "style=" not in answer.text


def test_over_https_browsers_hold_the_cookie_to_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATERTIGHT_PUBLIC_URL", "https://watertight.example")
    application.settings.cache_clear()
    try:
        response = Response()
        set_cookie(response, "console", "secret")
        delete_cookie(response, "console")
        assert cookie_name("console") == "__Host-console"
    finally:
        monkeypatch.undo()
        application.settings.cache_clear()
    for said in response.headers.getlist("Set-Cookie"):
        assert said.startswith("__Host-console=")
        assert [
            word for word in ("HttpOnly", "SameSite=strict", "Path=/", "Secure") if word not in said.split("; ")
        ] == []
        assert "Domain" not in said


def test_a_database_that_is_away_is_a_page_of_its_own(tmp_path: Path) -> None:
    with serve(tmp_path, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none") as web:
        visitor = stranger(web)
        visitor.cookies[LOGIN] = "somebody"
        for answer in (visitor.get("/sign-in"), visitor.get("")):
            assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
            assert "The database does not answer" in answer.text
        assert "Traceback" not in web.log.read_text()


def test_the_console_is_in_no_description_of_the_api(web: Web) -> None:
    described = requests.get(f"{web.url}/openapi.json", timeout=20).json()
    assert [path for path in described["paths"] if "console" in path] == []


def test_users_are_made_renewed_and_disabled_by_command(
    watertight: Commands, monkeypatch: pytest.MonkeyPatch, owner_engine: Engine, app_sessions: Sessions
) -> None:
    def piped(password: str, *arguments: str) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
            answer = watertight(*arguments)
        assert password not in answer.out + answer.err
        return answer.code, answer.err

    assert piped("too short", "users", "create", "ops", "--role", "operator")[0] == 1
    assert piped(PASSWORD, "users", "create", "ops", "--role", "operator") == (0, "")
    assert piped(PASSWORD, "users", "create", "ops", "--role", "viewer")[0] == 1
    assert piped(PASSWORD, "users", "create", "o p s", "--role", "viewer")[0] == 1
    assert piped(PASSWORD, "users", "create", "guest", "--role", "boss")[0] == 2
    [user] = json.loads(watertight("users", "list", "--json").out)
    assert (user["name"], user["role"], user["disabled_at"], "password" in user) == ("ops", "operator", None, False)
    with transaction(app_sessions) as session:
        secret = open_login(session, user["id"])
    assert piped("another long password", "users", "password", "ops")[0] == 0
    with transaction(app_sessions) as session:
        assert find_login(session, secret) is None
    assert [watertight("users", "disable", name).code for name in ("ops", "ops", "nobody")] == [0, 0, 1]
    kept = str(rows(owner_engine, "SELECT * FROM users"))
    assert (PASSWORD in kept, "scrypt$" in kept) == (False, True)
    did = rows(owner_engine, "SELECT what, via, about FROM actions ORDER BY id")
    about = f"user:{user['id']}"
    assert did == [("users.create", "cli", about), ("users.password", "cli", about), ("users.disable", "cli", about)]
