"""The booking page as people meet it: a real browser, a real web process, and a commit worker that decides."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from providers.emulation import HumanAction, HumanEvent
from sync.domain import Interval
from sync.intake import Request, receive
from tests.browser.conftest import Visit
from tests.browser.reception import Reception, Visitor
from tests.faults.rig import until

ZONES = ("America/Chicago", "Europe/London", "Asia/Kathmandu", "Australia/Lord_Howe")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
THIS_HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def clock_changes() -> list[datetime]:
    """The first instants of summer or winter in any of the zones, as far as can be booked."""
    found = {
        hour
        for zone in map(ZoneInfo, ZONES)
        for hour in (THIS_HOUR + number * HOUR / 2 for number in range(2 * 24 * 3, 2 * 24 * 360))
        if hour.astimezone(zone).utcoffset() != (hour - HOUR / 2).astimezone(zone).utcoffset()
    }
    return sorted(found)


CHANGES = clock_changes()


def label(moment: datetime, zone: str) -> str:
    local = moment.astimezone(ZoneInfo(zone))
    return f"{local:%a} {local.day} {local:%b}, {local:%H:%M} ({offset(moment, zone)})"


def offset(moment: datetime, zone: str) -> str:
    """As people write it: UTC-6, UTC+5:45, UTC+0."""
    minutes = (moment.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()) // timedelta(minutes=1)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")


def hours_of(day: date, zone: str) -> list[datetime]:
    """All hours that begin on the local day: 23 to 25."""
    first = datetime.combine(day, datetime.min.time(), tzinfo=UTC) - DAY
    hours = [first + number * HOUR for number in range(72)]
    return [hour for hour in hours if hour.astimezone(ZoneInfo(zone)).date() == day]


def labels(page: Page) -> list[str]:
    found: list[str] = page.locator("#times button").evaluate_all("all => all.map(one => one.ariaLabel)")
    return [one.replace(",", "", one.count(",") - 1) for one in found]  # some versions write "Tue, 9 Mar"


def tomorrow(hour: int = 12) -> datetime:
    return THIS_HOUR.replace(hour=hour) + DAY


def open_day(page: Page, day: date) -> None:
    button = page.locator(f'#days button[data-day="{day}"]')
    if not button.count():
        page.click("#on")
        button.wait_for()
    button.evaluate("one => { one.click(); }")


def time_at(page: Page, moment: datetime) -> str:
    """Opens the day; the selector of its button."""
    zone = page.evaluate("new Intl.DateTimeFormat().resolvedOptions().timeZone")
    open_day(page, moment.astimezone(ZoneInfo(zone)).date())
    return f'#times button:has(time[datetime="{moment:%Y-%m-%dT%H:%M:%SZ}"])'


def choose(visitor: Visitor, moment: datetime) -> None:
    visitor.page.click(time_at(visitor.page, moment))
    expect(visitor.page.locator("#details")).to_be_visible()


def fill(page: Page, name: str = "Ann Onymous") -> None:
    page.fill("#name", name)
    page.fill("#email", "ann@prospect.example")


def expect_booked(visitor: Visitor) -> None:
    expect(visitor.page.locator("#done")).to_be_visible()
    expect(visitor.page.locator("#done-title")).to_be_focused()


def take(reception: Reception, slug: str, moment: datetime) -> None:
    """Somebody else books it, by another road."""
    request = Request(f"other-{slug}-{moment}", slug, Interval(moment, moment + HOUR), "Other")
    reception.rig.publish([("Commit", (f"proposal:{receive(reception.rig.runtime.sessions, request).id}",))])
    until(lambda: ("Other", moment) in reception.booked(slug), "booking of somebody else")


@contextmanager
def frozen(reception: Reception) -> Iterator[None]:
    """The commit worker, stopped by the kernel."""
    os.kill(reception.worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(reception.worker.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def sights(reception: Reception) -> str:
    """An agent whom everybody may look at; booking is done with one's own."""
    return reception.agent(days=365)


@pytest.mark.parametrize("zone", ZONES)
def test_around_every_clock_change_each_instant_has_its_local_label(visit: Visit, sights: str, zone: str) -> None:
    visitor = visit(sights, zone=zone)
    assert len(CHANGES) in {5, 6}  # two in each zone that has any; one may lie at the edge of the year ahead
    loaded = THIS_HOUR
    for change in CHANGES:
        if change > loaded + 28 * DAY:
            loaded = change - 2 * DAY
            visitor.page.goto(f"/book/{sights}?from={loaded:%Y-%m-%d}")
        for day in sorted({(change + number * DAY).astimezone(ZoneInfo(zone)).date() for number in (-1, 0, 1)}):
            open_day(visitor.page, day)
            assert labels(visitor.page) == [label(hour, zone) for hour in hours_of(day, zone)]


def test_a_day_on_which_the_clocks_change_shows_the_offset_at_every_time(visit: Visit, sights: str) -> None:
    zone = "Europe/London"
    change = next(one for one in CHANGES if offset(one, zone) != offset(one - HOUR, zone))
    visitor = visit(f"{sights}?from={change - DAY:%Y-%m-%d}", zone=zone)
    time_at(visitor.page, change)
    first, later = offset(change - HOUR, zone), offset(change, zone)
    expect(visitor.page.locator("#day-zone")).to_have_text(f"{zone} ({first}, then {later})")
    texts = visitor.page.locator("#times button").all_inner_texts()
    assert len(texts) in {23, 25}
    assert all(re.search(r"\(UTC[+]\d\)", text) for text in texts)


@pytest.mark.parametrize(("locale", "shown"), [("en-GB", "15:00"), ("en-US", "3:00 PM"), ("de-DE", "15:00")])
def test_the_clock_is_that_of_the_visitors_language(visit: Visit, sights: str, locale: str, shown: str) -> None:
    page = visit(sights, zone="UTC", locale=locale).page
    button = page.locator(time_at(page, tomorrow(15)))
    assert button.inner_text().replace("\u202f", " ") == shown


def test_another_zone_changes_every_label_and_the_day(visit: Visit, reception: Reception) -> None:
    slug, moment = reception.agent(), tomorrow(20)
    page = (visitor := visit(slug, zone="Europe/London")).page
    expect(page.locator("#zone")).to_have_value("Europe/London")
    page.select_option("#zone", label="Tokyo")
    local = moment.astimezone(ZoneInfo("Asia/Tokyo")).date()
    assert local == moment.date() + DAY
    open_day(page, local)
    assert labels(page) == [label(hour, "Asia/Tokyo") for hour in hours_of(local, "Asia/Tokyo")]
    page.click(f'#times button:has(time[datetime="{moment:%Y-%m-%dT%H:%M:%SZ}"])')
    expect(page.locator("#chosen time")).to_have_text(label(moment, "Asia/Tokyo"))
    page.select_option("#zone", label="Kathmandu")
    expect(page.locator("#chosen")).to_contain_text(label(moment, "Asia/Kathmandu"))
    expect(page.locator("#chosen")).to_contain_text("Asia/Kathmandu")
    expect(page.locator("#said")).to_contain_text(label(moment, "Asia/Kathmandu"))
    fill(page)
    page.click("#book")
    expect_booked(visitor)
    assert reception.booked(slug) == [("Meeting with Ann Onymous", moment)]


def test_of_two_browsers_that_want_one_time_one_gets_it_and_the_other_is_told(
    visit: Visit, reception: Reception
) -> None:
    slug, moment = reception.agent(), tomorrow(9)
    visitors = [visit(slug, zone=zone) for zone in ("America/Chicago", "Asia/Kathmandu")]
    buttons = [time_at(visitor.page, moment) for visitor in visitors]
    for visitor, button in zip(visitors, buttons, strict=True):
        visitor.page.locator(button).evaluate("one => { one.click(); }")  # does not wait for what comes of it
    for visitor in visitors:
        expect(visitor.page.locator("#said")).not_to_be_empty()
    winner, loser = sorted(visitors, key=lambda visitor: visitor.page.locator("#details").is_hidden())
    zone = str(loser.page.input_value("#zone"))
    expect(loser.page.locator("#said")).to_contain_text(f"faster: {label(moment, zone)} is no longer free")
    expect(loser.page.locator("#notice")).to_be_focused()
    free = loser.page.locator("#alternatives button")
    assert free.count() == 5
    assert loser.page.locator(f'time[datetime="{moment:%Y-%m-%dT%H:%M:%SZ}"]').count() == 0
    for visitor, name in ((winner, "Winner"), (loser, "Loser")):
        if visitor is loser:
            free.first.click()
        fill(visitor.page, name)
        visitor.page.click("#book")
        expect_booked(visitor)
    assert {title for title, start in reception.booked(slug) if start == moment} == {"Meeting with Winner"}
    assert sorted(reception.on_master(slug)) == ["Meeting with Loser", "Meeting with Winner"]


def test_what_a_person_put_on_the_master_is_gone_from_the_list_at_once(visit: Visit, reception: Reception) -> None:
    """Though no job has read it yet."""
    slug, moment = reception.agent(), tomorrow()
    page = (visitor := visit(slug)).page
    button = time_at(page, moment)
    event = HumanEvent(start=moment, end=moment + HOUR, title="Dentist")
    reception.rig.outlook.act(HumanAction(action="create", calendar=f"{slug}@example.com", event=event))
    page.click(button)
    expect(page.locator("#said")).to_contain_text("is no longer free")
    expect(page.locator(button)).to_have_count(0)
    assert page.locator(f'#alternatives time[datetime="{moment:%Y-%m-%dT%H:%M:%SZ}"]').count() == 0
    page.locator("#alternatives button").first.click()
    expect(page.locator("#details")).to_be_visible()
    assert visitor.page.locator("#chosen time").get_attribute("datetime") != f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def test_a_page_left_open_says_that_its_hold_ran_out_and_book_still_works(visit: Visit, reception: Reception) -> None:
    slug, moment = reception.agent(), tomorrow()
    page = (visitor := visit(slug, hasty=True)).page
    choose(visitor, moment)
    fill(page)
    expect(page.locator("#timer")).to_have_text("Not kept for you any more")
    expect(page.locator("#said")).to_contain_text("no longer kept for you")
    expect(page.locator("#name")).to_have_value("Ann Onymous")
    page.click("#book")
    expect_booked(visitor)
    assert reception.booked(slug) == [("Meeting with Ann Onymous", moment)]


def test_after_the_hold_ran_out_the_faster_one_wins_and_the_other_is_told(visit: Visit, reception: Reception) -> None:
    slug, moment = reception.agent(), tomorrow()
    page = (visitor := visit(slug, hasty=True)).page
    choose(visitor, moment)
    fill(page)
    expect(page.locator("#timer")).to_have_text("Not kept for you any more")
    take(reception, slug, moment)
    page.click("#book")
    expect(page.locator("#said")).to_contain_text("is no longer free")
    page.locator("#alternatives button").first.click()
    expect(page.locator("#name")).to_have_value("Ann Onymous")  # what was typed is still there
    assert reception.booked(slug) == [("Other", moment)]


def test_pressing_book_twice_books_once(visit: Visit, reception: Reception) -> None:
    slug, moment = reception.agent(), tomorrow()
    page = (visitor := visit(slug)).page
    choose(visitor, moment)
    fill(page)
    page.dblclick("#book")
    expect_booked(visitor)
    assert reception.booked(slug) == [("Meeting with Ann Onymous", moment)]
    assert [url for url in visitor.asked if url.endswith("/bookings")] == [f"{reception.web.url}/book/{slug}/bookings"]


def test_while_nobody_can_decide_the_page_says_so_and_then_tells_the_truth(visit: Visit, reception: Reception) -> None:
    slug, moment = reception.agent(), tomorrow()
    page = (visitor := visit(slug)).page
    with frozen(reception):
        page.click(time_at(page, moment))
        expect(page.locator("#said")).to_contain_text("This time is being checked")
        fill(page)
    expect(page.locator("#timer")).to_contain_text("Kept for you")
    with frozen(reception):
        page.click("#book")
        expect(page.locator("#said")).to_contain_text("Nothing is promised yet")
    expect_booked(visitor)
    assert reception.booked(slug) == [("Meeting with Ann Onymous", moment)]


def test_without_network_nothing_is_claimed_and_book_can_be_pressed_again(visit: Visit, reception: Reception) -> None:
    slug, moment = reception.agent(), tomorrow()
    page = (visitor := visit(slug)).page
    choose(visitor, moment)
    fill(page)
    lost = re.compile(r"/bookings$")
    page.route(lost, lambda route: (route.fetch(), route.abort()))  # it arrives, and the answer is lost
    page.click("#book")
    expect(page.locator("#said")).to_contain_text("nobody can say yet whether this is booked")
    page.unroute(lost)
    page.click("#book")
    expect_booked(visitor)
    assert reception.booked(slug) == [("Meeting with Ann Onymous", moment)]
    assert visitor.complaints
    visitor.complaints.clear()  # the browser's own, about the lost answers


def test_a_time_that_is_not_wanted_any_more_is_given_back(visit: Visit, reception: Reception) -> None:
    slug, moment = reception.agent(), tomorrow()
    page = (visitor := visit(slug)).page
    choose(visitor, moment)
    page.click("#other")
    expect(page.locator("#choose-title")).to_be_focused()
    held = "SELECT count(*) FROM slots WHERE state = 'held' AND agent_id = (SELECT id FROM agents WHERE slug = :slug)"
    until(lambda: reception.rig.sql(held, slug=slug) == [(0,)], "free slot")
    visitor.page.reload()
    choose(visitor, moment)
    page.close()
    until(lambda: reception.rig.sql(held, slug=slug) == [(0,)], "slot that is free after its visitor left")


def test_without_a_script_utc_is_listed_and_the_form_books_once(visit: Visit, reception: Reception) -> None:
    slug, moment = reception.agent(), tomorrow()
    visitors = [visit(slug, zone="America/Chicago", java_script_enabled=False) for _ in range(2)]
    page, late = (visitor.page for visitor in visitors)
    expect(page.get_by_text("Without JavaScript, times are listed in UTC")).to_be_visible()
    expect(page.locator("#plain h3").nth(1)).to_contain_text("UTC")
    for one in (page, late):
        link = one.locator(f'a:has(time[datetime="{moment:%Y-%m-%dT%H:%M:%SZ}"])')
        expect(link).to_have_text(f"{moment:%H:%M}")
        link.click()
        fill(one, "No Script")
    page.locator("button.main").click()
    expect(page.locator("h2")).to_have_text("Booked")
    page.go_back()
    fill(page, "Once More")
    page.locator("button.main").click()
    expect(page.locator("h2")).to_have_text("Booked")
    late.locator("button.main").click()
    expect(late.locator("h2")).to_have_text("That time is no longer free")
    assert late.locator("ul.times a").count() == 5
    assert reception.booked(slug) == [("Meeting with No Script", moment)]


def test_a_keyboard_is_enough(visit: Visit, reception: Reception) -> None:
    slug = reception.agent()
    page = (visitor := visit(slug)).page
    until_focused(page, "#days button")
    page.keyboard.press("Enter")
    until_focused(page, "#times button")
    page.keyboard.press("Enter")
    expect(page.locator("#details-title")).to_be_focused()
    until_focused(page, "#name")
    page.keyboard.type("Kay Board")
    until_focused(page, "#email")
    page.keyboard.type("kay@prospect.example")
    page.keyboard.press("Enter")
    expect_booked(visitor)
    assert [title for title, _ in reception.booked(slug)] == ["Meeting with Kay Board"]


def until_focused(page: Page, selector: str) -> None:
    """Tab by tab, and whatever has the focus shows it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        shown = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert shown != "none", page.evaluate("() => document.activeElement.outerHTML")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} is not reached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_of_the_page_has_a_barrier(visit: Visit, reception: Reception, scheme: str) -> None:
    slug, moment = reception.agent(), tomorrow()
    page = (visitor := visit(slug, color_scheme=scheme)).page
    expect(page.locator("#times button").first).to_be_visible()
    assert barriers(page) == []
    button = time_at(page, moment)
    take(reception, slug, moment)
    page.click(button)
    expect(page.locator("#alternatives button").first).to_be_visible()
    assert barriers(page) == []
    page.locator("#alternatives button").first.click()
    expect(page.locator("#details")).to_be_visible()
    assert barriers(page) == []
    fill(page)
    page.click("#book")
    expect_booked(visitor)
    assert barriers(page) == []


def barriers(page: Page) -> list[str]:
    """What axe-core finds, with the elements at fault."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in found]


@pytest.mark.parametrize("width", [320, 640])
def test_nothing_has_to_be_scrolled_sideways(visit: Visit, reception: Reception, width: int) -> None:
    """640 is a usual window at 200 % zoom."""
    slug, moment = reception.agent("Wilhelmina Featherstonehaugh-Cholmondeley"), tomorrow()
    page = (visitor := visit(slug, viewport={"width": width, "height": 600})).page
    fits = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    expect(page.locator("#times button").first).to_be_visible()
    assert page.evaluate(fits)
    button = time_at(page, moment)
    take(reception, slug, moment)
    page.click(button)
    page.locator("#alternatives button").first.click()
    expect(page.locator("#details")).to_be_visible()
    assert page.evaluate(fits)
    fill(page)
    page.click("#book")
    expect_booked(visitor)
    assert page.evaluate(fits)


@pytest.mark.parametrize("read", [None, timedelta(days=1)])
def test_an_old_picture_offers_nothing_and_says_why(visit: Visit, reception: Reception, read: timedelta | None) -> None:
    slug = reception.agent(read=read)
    page = visit(slug).page
    expect(page.get_by_text("Times are being checked.")).to_be_visible()
    expect(page.locator("#pick")).to_be_hidden()
    assert page.locator("time").count() == 0


def test_nobody_is_a_page_too(visit: Visit) -> None:
    visitor = visit("nobody-here")
    expect(visitor.page.locator("h1")).to_have_text("There is nothing here")
    assert barriers(visitor.page) == []
    visitor.complaints.clear()  # Chromium prints the 404
