"""Somebody in front of the console: a browser without a screen, who sends forms as pages of ours do."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.audits import Audit
from models.session import Sessions, transaction
from sync.actions import Actor
from sync.domain import Job
from sync.errors import ProviderUnavailable, Rejected
from sync.failures import open_alert, record_dead_letter
from sync.schedule import pause
from sync.users import Role, create_user, open_login
from tests.conftest import Shared
from tests.integration.served import Web, serve
from tests.integration.world import World, at
from workers.scheduler import install_defaults
from workers.settings import Settings

PASSWORD = "correct horse battery"
UNWATCHED = {"WATERTIGHT_WATCH_SECONDS": "0"}  # or the watch would close alerts that a test made up
numbers = itertools.count(1)


@contextmanager
def open_console(shared: Shared, broker: str, folder: Path) -> Iterator[Web]:
    """A web process over the database that tests share."""
    url = shared.app.url.render_as_string(hide_password=False)
    with serve(folder, database_url=url, WATERTIGHT_BROKER_URL=broker, **UNWATCHED) as web:
        yield web


@dataclass
class Viewer:
    """``cookies`` are those that a browser would keep."""

    web: Web
    name: str
    address: str
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> requests.Response:
        return self._send("GET", path)

    def post(self, path: str, *, data: dict[str, str] | None = None, **headers: str | None) -> requests.Response:
        told = {"Sec-Fetch-Site": "same-origin"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self._send("POST", path, data=data or {}, headers=told)

    def press(self, page: str, path: str, **fields: str) -> requests.Response:
        """Send the form on this page that leads to ``path``, with what is typed into it."""
        return self.post(path, data=fields_of(self.get(page).text, path) | fields)

    def _send(
        self,
        method: str,
        path: str,
        *,
        data: dict[str, str] | None = None,
        headers: dict[str, str | None] | None = None,
    ) -> requests.Response:
        told: dict[str, str | None] = {"X-Forwarded-For": self.address}
        told |= {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        answer = requests.request(
            method,
            f"{self.web.url}/console{path}",
            data=data,
            headers=told | (headers or {}),
            timeout=20,
            allow_redirects=False,
        )
        assert answer.status_code != 500, self.web.log.read_text()[-1500:]
        for cookie in answer.cookies:
            self.cookies[cookie.name] = cookie.value or ""
        return answer


def stranger(web: Web) -> Viewer:
    """Somebody from an address of their own who has not signed in."""
    number = next(numbers)
    return Viewer(web, f"user-{number}", f"198.51.100.{number % 250 + 1}")


def register(sessions: Sessions, viewer: Viewer, role: Role = Role.OPERATOR) -> None:
    with transaction(sessions) as session:
        create_user(session, viewer.name, role=role, password=PASSWORD, by=Actor("test", "cli"))


def signed_in(sessions: Sessions, web: Web, role: Role = Role.OPERATOR) -> Viewer:
    """Without the pages that lead there, which have tests of their own."""
    viewer = stranger(web)
    with transaction(sessions) as session:
        made = create_user(session, viewer.name, role=role, password=PASSWORD, by=Actor("test", "cli"))
        viewer.cookies["watertight-console"] = open_login(session, made.id)
    return viewer


def sign_in(viewer: Viewer, *, password: str = PASSWORD, wanted: str = "") -> requests.Response:
    """By the page."""
    page = viewer.get(f"/sign-in{wanted}")
    typed = {"name": viewer.name, "password": password}
    return viewer.post("/sign-in", data=fields_of(page.text, "/sign-in") | typed)


def fields_of(page: str, path: str) -> dict[str, str]:
    """What a form has that nobody types."""
    found = re.search(rf'<form[^>]*action="/console{re.escape(path)}".*?</form>', page, re.DOTALL)
    assert found is not None, f"no form to {path} in:\n{page[-3000:]}"
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', found[0])
    return {name: html.unescape(value) for name, value in hidden}


def furnish(world: World) -> None:
    """An office on a bad night: bookings, a conflict, drift, alerts, dead letters, and a job that somebody paused."""
    install_defaults(world.app, Settings())
    booked = [world.book(at(hour), "Secret cellar") for hour in (9, 11.5, 15)]
    world.decide(world.ask(at(9.5)))
    world.ask(at(16))
    world.hold(at(13.5, minutes=30))
    for hour in (11, 34):
        world.master.put(at(hour), "Dentist")
    world.detect(Job.NEW, "dana-master")
    world.add_agent("ben")
    world.add_mirror("ben-crm", agent="ben", role="source")
    findings = [{"kind": "missing", "calendar": int(world.ids["dana-mirror"]), "appointment": booked[2].id}]
    with transaction(world.app) as session:
        session.execute(
            update(Calendar).where(Calendar.id == world.ids["ben-master"]).values(stopped_code="credential_revoked")
        )
        _fail(session, world)
        pause(session, "UpdateSync", by=Actor("nightshift", "cli"))
        agent = session.scalars(select(Agent.id).where(Agent.slug == "dana")).one()
        session.add(Audit(agent_id=agent, state="drift", drift=1, findings=findings, requests=4))


def _fail(session: Session, world: World) -> None:
    stopped = {"calendar": int(world.ids["ben-master"])}
    open_alert(session, f"stopped:{stopped['calendar']}", code="credential_revoked", detail=stopped)
    for number in range(1, 6):
        cause = f"update:{number}:provider_unavailable"
        open_alert(session, cause, code="provider_unavailable", detail={"calendar": number})
        error = ProviderUnavailable("GET /calendars/{id}/events answered 503")
        record_dead_letter(session, "UpdateSync.calendar", reference=str(number), error=error, attempts=5)
    record_dead_letter(session, "Commit", reference="proposal:1", error=Rejected("answered 400"), attempts=1)
