"""How many requests a job costs at Outlook and at Google, by the emulators' own books, and as the documents say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from providers.emulation import HumanAction, HumanEvent, build_app
from providers.google.client import GoogleCredentials, GoogleService
from providers.google.emulator import GoogleEmulator
from providers.outlook.client import OutlookCredentials, OutlookService
from providers.outlook.emulator import OutlookEmulator
from sync.domain import CalendarId, CalendarRef, Interval, Job, Role
from sync.ports import CalendarReader
from tests.fixtures.google.serving import service_account, serving

DOCS = Path(__file__).parents[2] / "docs" / "providers"
NINE = datetime(2027, 3, 8, 15, tzinfo=UTC)
WINDOW = Interval(NINE - timedelta(days=1), NINE + timedelta(days=60))
ADDRESS = "dana@example.test"


@dataclass
class Desk:
    """A calendar with somebody at it, and what was asked of its vendor."""

    name: str
    emulator: OutlookEmulator | GoogleEmulator
    reader: CalendarReader

    def types(self, number: int) -> list[str]:
        return [str(self.emulator.act(self._create(hour))["id"]) for hour in range(number)]

    def deletes(self, event: str) -> None:
        self.emulator.act(HumanAction(action="delete", calendar=ADDRESS, id=event))

    def cost(self, work: Callable[[], object]) -> int:
        """Requests to the API; a token lasts an hour and is not counted."""
        before = self._requests()
        work()
        return self._requests() - before

    def _requests(self) -> int:
        routes = self.emulator.books.by_route
        return sum(count for route, count in routes.items() if "token" not in route and "openid" not in route)

    @staticmethod
    def _create(hour: int) -> HumanAction:
        start = NINE + timedelta(hours=hour)
        event = HumanEvent(start=start, end=start + timedelta(minutes=30), title=f"Event {hour}")
        return HumanAction(action="create", calendar=ADDRESS, event=event)


def _outlook(url: str, _emulator: object) -> OutlookService:
    return OutlookService(OutlookCredentials("t", "c", "s", base_url=f"{url}/v1.0", login_url=url))


def _google(url: str, _emulator: object) -> GoogleService:
    return GoogleService(GoogleCredentials(service_account(), base_url=f"{url}/calendar/v3", token_uri=f"{url}/token"))


@pytest.fixture(params=["outlook", "google"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    emulator = OutlookEmulator() if request.param == "outlook" else GoogleEmulator()
    with serving(build_app(emulator)) as url:
        service = (_outlook if request.param == "outlook" else _google)(url, emulator)
        ref = CalendarRef(CalendarId(1), "dana", request.param, ADDRESS, Role.MASTER, "America/Chicago")
        yield Desk(request.param, emulator, service.calendar(ref))


def test_each_kind_of_read_costs_what_the_document_says(desk: Desk) -> None:
    reader, costs = desk.reader, {}
    events = desk.types(10)
    costs["first or full read"] = desk.cost(lambda: reader.read_changes(None, window=WINDOW, job=Job.NEW))
    cursor = reader.read_changes(None, window=WINDOW).cursor
    costs["nothing changed"] = desk.cost(lambda: reader.read_changes(cursor, window=WINDOW, job=Job.UPDATE))
    desk.types(10)
    costs["10 changed"] = desk.cost(lambda: reader.read_changes(cursor, window=WINDOW, job=Job.UPDATE))
    cursor = reader.read_changes(cursor, window=WINDOW).cursor
    desk.deletes(events[0])
    costs["1 deleted"] = desk.cost(lambda: reader.read_changes(cursor, window=WINDOW, job=Job.CANCEL))
    costs["live check of the master"] = desk.cost(lambda: reader.read_window(Interval(NINE, NINE + timedelta(hours=1))))
    document = (DOCS / f"{desk.name}.md").read_text(encoding="utf-8")
    assert [f"| {what} | {count} |" for what, count in costs.items() if f"| {what} | {count} |" not in document] == []
