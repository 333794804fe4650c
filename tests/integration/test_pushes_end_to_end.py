"""From a person at an emulated vendor to a proposal: channel, push, receiver, hint, job. Every part is the real one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from models.session import transaction
from providers.calcom.emulator import CalcomEmulator
from providers.emulation import Emulator, HumanAction, HumanEvent, build_app
from providers.google.emulator import GoogleEmulator
from providers.hubspot.emulator import HubSpotEmulator
from providers.outlook.emulator import OutlookEmulator
from sync.channels import Kept
from sync.domain import CalendarId, Job
from tests.fixtures.google.serving import service_account, serving
from tests.integration.pushing import APP_SECRET, KEY
from tests.integration.served import Web, migrated, serve
from workers.embedded import EmbeddedPostgres
from workers.settings import Settings, with_emulators
from workers.wiring import Runtime, build

DANA = "dana@example.com"
CALENDARS = {"outlook": (1, DANA), "google": (2, DANA), "calcom": (3, DANA), "hubspot": (4, "42")}
ROWS = """
    INSERT INTO calendars (id, agent_id, provider, remote, role)
    SELECT row.id, agents.id, row.provider, row.remote, row.role FROM agents, (VALUES
        (1, 'outlook', 'dana@example.com', 'master'), (2, 'google', 'dana@example.com', 'mirror'),
        (3, 'calcom', 'dana@example.com', 'source'), (4, 'hubspot', '42', 'source')
    ) AS row (id, provider, remote, role)
"""
PLENTY = 100_000  # what others count is no affair of these tests
UNLIMITED = dict.fromkeys(("calcom_requests", "hubspot_requests", "hubspot_searches"), PLENTY) | {
    "limits_blind_share": 1
}
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)


@dataclass
class Town:
    web: Web
    runtime: Runtime
    emulators: dict[str, Emulator]

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with transaction(self.runtime.sessions) as session:
            result = session.execute(text(statement))
            return [tuple(row) for row in result] if statement.startswith("SELECT") else []

    def hints(self, calendar: int) -> set[str]:
        query = f"SELECT job FROM cursors WHERE hinted_at IS NOT NULL AND calendar_id = {calendar}"  # noqa: S608
        return {job for (job,) in self.sql(query)}

    def act(self, vendor: str, action: str, *, hours: int = 0, remote_id: str | None = None) -> str:
        start = START + timedelta(hours=hours)
        event = HumanEvent(start=start, end=start + timedelta(minutes=30), title="Secret cellar")
        if action == "delete":
            event = HumanEvent()
        mailbox = CALENDARS[vendor][1]
        shown = self.emulators[vendor].act(HumanAction(action=action, calendar=mailbox, id=remote_id, event=event))
        return str(shown.get("uid") or shown["id"])

    def read(self, vendor: str) -> None:
        """As polling would have done."""
        for job in Job:
            self.run(job, vendor)

    def run(self, job: Job, vendor: str) -> list[str]:
        """What the job proposes."""
        report = self.runtime.detector().run(job, CalendarId(CALENDARS[vendor][0]))
        return [wish.kind.value for wish in report.wishes]


def wait_for(look: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def town(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    calcom, hubspot = CalcomEmulator(), HubSpotEmulator()
    calcom.requests_per_minute = hubspot.limits.searches = hubspot.limits.burst = PLENTY
    emulators: dict[str, Emulator] = {
        "outlook": OutlookEmulator(),
        "google": GoogleEmulator(),
        "calcom": calcom,
        "hubspot": hubspot,
    }
    (folder / "google-service-account.json").write_text(json.dumps(service_account()))
    secrets = {"WATERTIGHT_WEBHOOK_KEY": KEY, "WATERTIGHT_HUBSPOT_CLIENT_SECRET": APP_SECRET}
    with ExitStack() as stack:
        urls = {name: stack.enter_context(serving(build_app(one))) for name, one in emulators.items()}
        database = stack.enter_context(migrated(postgres, "town"))
        web = stack.enter_context(serve(folder, database_url=database, **secrets))
        told = {"state_dir": folder, "database_url": database, "public_url": web.url, "webhook_key": KEY} | UNLIMITED
        settings = with_emulators(Settings.model_validate(told), urls)
        runtime = build(settings.model_copy(update={"hubspot_archive_seconds": 0.0}))
        town = Town(web, runtime, emulators)
        engine = create_engine(postgres.url().replace("/watertight?", "/town?"), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(ROWS))
        target = {"url": f"{web.url}/webhooks/hubspot", "secret": APP_SECRET}
        requests.post(f"{urls['hubspot']}/_control/webhook", json=target, timeout=10).raise_for_status()
        assert runtime.channels().keep_all(seconds=60) == Kept(done=3)
        yield town
        runtime.sessions.kw["bind"].dispose()


ALL = {"new", "cancel", "update"}


@pytest.mark.parametrize(
    ("vendor", "hour", "created", "deleted"),
    [
        ("outlook", 0, {"new"}, {"cancel"}),
        ("google", 1, ALL, ALL),
        ("calcom", 2, {"new"}, {"cancel"}),
        ("hubspot", 3, {"new"}, {"cancel"}),
    ],
)
def test_what_a_person_does_reaches_the_right_job(
    town: Town, vendor: str, hour: int, created: set[str], deleted: set[str]
) -> None:
    number = CALENDARS[vendor][0]
    town.read(vendor)
    event = town.act(vendor, "create", hours=hour)
    wait_for(lambda: town.hints(number) == created)
    assert town.run(Job.NEW, vendor) == ["book"]
    for job in (Job.CANCEL, Job.UPDATE):
        assert town.run(job, vendor) == []
    assert town.hints(number) == set()
    town.act(vendor, "delete", remote_id=event)
    wait_for(lambda: town.hints(number) == deleted)
    assert town.run(Job.CANCEL, vendor) == ["cancel"]


@pytest.mark.parametrize(("vendor", "hour"), [("outlook", 5), ("google", 6), ("calcom", 7), ("hubspot", 8)])
def test_a_new_time_reaches_the_job_of_updates(town: Town, vendor: str, hour: int) -> None:
    number = CALENDARS[vendor][0]
    town.read(vendor)
    event = town.act(vendor, "create", hours=hour)
    wait_for(lambda: "new" in town.hints(number))
    town.read(vendor)
    town.act(vendor, "change", hours=hour + 20, remote_id=event)
    wait_for(lambda: "update" in town.hints(number))
    moves = town.run(Job.UPDATE, vendor)
    if vendor == "calcom":  # a new time is a new booking there, which a later read follows once the old one is decided
        assert town.sql("SELECT count(*) FROM sightings WHERE replaces IS NOT NULL") == [(1,)]
    else:
        assert moves == ["move"]


def test_a_renewed_channel_still_speaks(town: Town) -> None:
    town.sql("UPDATE channels SET not_before = NULL, expires_at = clock_timestamp() + interval '1 minute'")
    before = dict(town.sql("SELECT calendar_id, remote_id FROM channels"))
    assert town.runtime.channels().keep_all(seconds=60) == Kept(done=3)
    after = dict(town.sql("SELECT calendar_id, remote_id FROM channels"))
    assert [before[number] == after[number] for number in (1, 2, 3)] == [True, False, True]
    for vendor, hour in (("outlook", 12), ("google", 13), ("calcom", 14)):
        town.read(vendor)
        town.act(vendor, "create", hours=hour)
        wait_for(lambda vendor=vendor: "new" in town.hints(CALENDARS[vendor][0]))  # type: ignore[misc]


def test_channels_that_vendors_have_forgotten_are_made_again(town: Town) -> None:
    """As when an emulator starts anew."""
    for name in ("outlook", "calcom"):
        emulator = town.emulators[name]
        known = emulator._subscriptions._known if name == "outlook" else emulator._hooks._hooks  # type: ignore[attr-defined]
        known.clear()
    town.sql("UPDATE channels SET not_before = NULL, expires_at = clock_timestamp() + interval '1 minute'")
    assert town.runtime.channels().keep_all(seconds=60) == Kept(done=3)
    for vendor, hour in (("outlook", 16), ("calcom", 17)):
        town.read(vendor)
        town.act(vendor, "create", hours=hour)
        wait_for(lambda vendor=vendor: "new" in town.hints(CALENDARS[vendor][0]))  # type: ignore[misc]
