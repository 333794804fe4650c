"""The console in a real browser: it is used at night, by tired people, from any zone, now and then on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from models.session import Sessions, transaction
from sync.actions import Actor
from sync.failures import open_alert
from sync.schedule import list_jobs
from sync.users import disable_user
from tests.browser.conftest import PATIENCE_MILLISECONDS
from tests.browser.reception import Visitor
from tests.conftest import Shared
from tests.integration.console import PASSWORD, UNWATCHED, furnish, register, stranger
from tests.integration.served import Web, serve
from tests.integration.world import World, at
from workers.embedded import EmbeddedValkey

NAME = "night.shift"
ZONE = "Asia/Kathmandu"
PAGES = (
    "",
    "/agents/dana?week={week}",
    "/proposals/1",
    "/proposals/4",
    "/alerts",
    "/failures",
    "/failures/1",
    "/failures/replay?code=provider_unavailable",
    "/schedule",
    "/drift",
    "/actions",
    "/nowhere",
)
DARK = ("", PAGES[1], "/failures")  # every colour there is

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def web(shared: Shared, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    assert browser.is_connected()
    folder, url = tmp_path_factory.mktemp("console"), shared.app.url.render_as_string(hide_password=False)
    with (
        EmbeddedValkey(folder) as valkey,
        serve(folder, database_url=url, WATERTIGHT_BROKER_URL=valkey.url(), **UNWATCHED) as served,
    ):
        yield served


@pytest.fixture
def world(app_sessions: Sessions, commit_sessions: Sessions) -> World:
    world = World(app_sessions, commit_sessions)
    world.add_agent("dana")
    return world


@pytest.fixture
def come(browser: Browser, web: Web, world: World) -> Iterator[Open]:
    """Signs in as an operator. In the end nothing was asked of anybody else, and no rule of ours was broken."""
    visitors: list[Visitor] = []
    viewer = stranger(web)
    viewer.name = NAME
    register(world.app, viewer)

    def enter(path: str = "", **more: object) -> Page:
        told: dict[str, object] = {"timezone_id": ZONE, "locale": "en-GB", "base_url": web.url}
        told["extra_http_headers"] = {"X-Forwarded-For": viewer.address}
        context = browser.new_context(**(told | more))  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        visitor = Visitor(context, context.new_page())
        visitor.watch()
        visitors.append(visitor)
        visitor.page.goto(f"/console{path}")
        sign_in(visitor.page)
        return visitor.page

    yield enter
    for visitor in visitors:
        visitor.context.close()
    assert [url for visitor in visitors for url in visitor.asked if not url.startswith((web.url, "data:"))] == []
    assert [said for visitor in visitors for said in visitor.complaints if "status of 40" not in said] == []


def sign_in(page: Page) -> None:
    page.fill("#name", NAME)
    page.fill("#password", PASSWORD)
    page.click("text=Sign in >> nth=-1")
    expect(page.locator(".me")).to_contain_text(NAME)


def barriers(page: Page) -> list[str]:
    """What axe-core finds, with the elements at fault."""
    found = Axe().run(page).response["violations"]
    return [f"{page.url} {one['id']}: {[node['html'] for node in one['nodes']]}" for one in found]


def week() -> str:
    return f"{at(9).start:%Y-%m-%d}"


def test_a_week_is_seen_in_the_zone_of_whoever_looks(come: Open, world: World) -> None:
    world.book(at(9), "Secret cellar")
    page = come(f"/agents/dana?week={week()}")
    local = at(9).start.astimezone(ZoneInfo(ZONE))
    page.click("#all summary")
    row = page.locator("#all tr", has_text="slots").locator("time").first
    expect(row).to_contain_text(f"{local:%H:%M:%S}")
    page.click("#zone")
    expect(row).to_have_text(f"{at(9).start:%Y-%m-%d %H:%M:%S}Z")
    before = page.locator("svg.week rect.booked").get_attribute("y")
    page.click("#mine")
    expect(page.locator("#mine")).to_have_attribute("aria-current", "true")
    moved = float(page.locator("svg.week rect.booked").get_attribute("y") or 0) - float(before or 0)
    assert moved == pytest.approx(28 * (local.utcoffset() or timedelta()).total_seconds() / 3600, abs=0.2)
    page.click("svg.week rect.booked")
    expect(page.locator("h1")).to_have_text("Proposal 1")


def test_the_page_refreshes_itself_until_it_is_told_not_to(come: Open, world: World) -> None:
    def look() -> None:
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    page = come()
    expect(page.locator("#live")).to_contain_text("none")
    with transaction(world.app) as session:
        open_alert(session, "x", code="credential_revoked", detail={})
    expect(page.locator(".verdict")).to_contain_text("1 critical alert")  # by itself, within seconds
    page.click("#pause")
    with transaction(world.app) as session:
        open_alert(session, "y", code="credential_revoked", detail={})
    look()
    expect(page.locator("#pause")).to_have_text("Paused: refresh again")
    expect(page.locator(".verdict")).to_contain_text("1 critical alert")
    page.click("#pause")
    expect(page.locator(".verdict")).to_contain_text("2 critical alerts")
    with transaction(world.app) as session:
        disable_user(session, NAME, by=Actor("test", "cli"))
    look()
    expect(page.locator("h1")).to_have_text("Sign in to the console")


@pytest.mark.parametrize("script", [True, False])
def test_a_job_is_paused_and_resumed_with_and_without_a_script(come: Open, world: World, script: bool) -> None:  # noqa: FBT001
    furnish(world)
    page = come("/schedule", java_script_enabled=script)
    page.click("#pause-CancellationSync summary")
    expect(page.locator("#pause-CancellationSync")).to_contain_text("keep their time")
    page.click("text=Pause CancellationSync")
    expect(page.locator(".done")).to_contain_text("The job is paused")
    with transaction(world.app) as session:
        assert [job.name for job in list_jobs(session) if not job.enabled] == ["CancellationSync", "UpdateSync"]
    page.click("form[action$='CancellationSync/resume'] button")
    expect(page.locator(".done")).to_contain_text("The job runs again")
    page.click("text=Actions")
    expect(page.locator("tbody tr").first).to_contain_text("schedule.resume")


@pytest.mark.parametrize(("scheme", "paths"), [("light", PAGES), ("dark", DARK)])
def test_no_page_has_a_barrier_or_is_wider_than_a_phone(
    come: Open, world: World, scheme: str, paths: tuple[str, ...]
) -> None:
    furnish(world)
    page = come(color_scheme=scheme)
    found, wide = [], []
    for path in paths:
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(f"/console{path.format(week=week())}")
        found += barriers(page)
        page.set_viewport_size({"width": 390, "height": 844})
        if not page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"):
            wide.append(path)
    page.click("text=Sign out")
    expect(page.locator("h1")).to_have_text("Sign in to the console")
    assert (found + barriers(page), wide) == ([], [])
