"""The browser is the machine's own Chromium: only these tests are skipped where there is none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.reception import CHROMIUM, OPTIONS, Reception, Visitor, receiving
from workers.embedded import EmbeddedPostgres

Visit = Callable[..., Visitor]
PATIENCE_MILLISECONDS = 20_000  # of whatever is waited for; on a quiet machine all of it takes milliseconds

expect.set_options(timeout=PATIENCE_MILLISECONDS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Until the module ends and no longer: Playwright's event loop would be in the way of whoever runs one of their own."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip(
            "no Chromium on this machine (Debian: apt-get install chromium): the booking page was not tried in a browser"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reception(browser: Browser, postgres: EmbeddedPostgres) -> Iterator[Reception]:
    """One for all tests here, each with an agent of its own. Without a browser none is started."""
    assert browser.is_connected()
    with tempfile.TemporaryDirectory(prefix="watertight-") as folder, receiving(postgres, Path(folder)) as reception:
        yield reception


@pytest.fixture
def visit(browser: Browser, reception: Reception) -> Iterator[Visit]:
    """Opens the page as somebody in a zone; in the end nothing was asked of anybody else, and no rule of ours was broken."""
    visitors: list[Visitor] = []

    def come(path: str, *, zone: str = "Europe/London", hasty: bool = False, **more: object) -> Visitor:
        web = reception.hasty if hasty else reception.web
        told = {"timezone_id": zone, "locale": "en-GB", "base_url": web.url, "extra_http_headers": reception.address()}
        context = browser.new_context(**(told | more))  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        visitor = Visitor(context, context.new_page())
        visitor.watch()
        visitors.append(visitor)
        visitor.page.goto(f"/book/{path}")
        return visitor

    yield come
    for visitor in visitors:
        visitor.context.close()
    urls = (reception.web.url, reception.hasty.url)
    assert [url for visitor in visitors for url in visitor.asked if not url.startswith((*urls, "data:"))] == []
    assert [said for visitor in visitors for said in visitor.complaints] == []
