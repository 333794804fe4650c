"""What the tests of Graph's lies ask again and again."""

from __future__ import annotations

from datetime import timedelta

import requests

from providers.outlook.auth import ClientCredentialFlow
from sync.detect import Detector, Horizon
from sync.domain import Job
from tests.contract.outlook_world import HOUR, NINE, WINDOW, Desk, draft, key
from tests.integration.vendors import VendorWorld


def a_day_later(world: VendorWorld, job: Job, name: str = "dana-master") -> None:
    """The window is opened anew: a full read."""
    assert world.connected is not None
    report = Detector(world.app, world.connected, horizon=Horizon(reopen=timedelta(0))).run(job, world.ids[name])
    assert report.full


def cursor_of(desk: Desk) -> str:
    return desk.client.read_changes(None, window=WINDOW).cursor


def changes(desk: Desk, cursor: str | None = None) -> tuple[object, ...]:
    return desk.client.read_changes(cursor, window=WINDOW).changes


def ids(found: object) -> list[str]:
    assert isinstance(found, tuple | list)
    return [each.remote_id for each in found]


def occurrence(desk: Desk, title: str = "Standup", **raw: object) -> str:
    event = {"title": title, "start": NINE.isoformat(), "end": (NINE + HOUR).isoformat()}
    return desk.act("create", event=event, raw={"type": "occurrence", "seriesMasterId": "the-series", **raw})


def every_call(desk: Desk) -> list[str]:
    """The routes of everything that the client can ask."""
    before = dict(desk.world.books()["by_route"])
    created = desk.client.create(draft(), key=key())
    updated = desk.client.update(created.remote_id, draft(title="Later"), version=created.version)
    changes(desk, cursor_of(desk))
    desk.client.read_window(WINDOW)
    desk.client.find_event(created.remote_id)
    desk.client.find_by_key(key())
    desk.client.delete(created.remote_id, version=updated.version)
    after: dict[str, int] = desk.world.books()["by_route"]
    return [route for route, count in after.items() if count > before.get(route, 0)]


def ask_schedule(desk: Desk, *mailboxes: str, **more: object) -> requests.Response:
    moment = {"dateTime": f"{NINE:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
    later = {"dateTime": f"{NINE + HOUR:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
    body = {"schedules": mailboxes, "startTime": moment, "endTime": later, **more}
    token = ClientCredentialFlow(desk.world.credentials()).token()
    url = f"{desk.world.url}/v1.0/users/{desk.ref.remote}/calendar/getSchedule"
    return requests.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=10)
