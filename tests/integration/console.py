"""Somebody in front of the console: a browser without a screen, who sends forms as pages of ours do."""

from __future__ import annotations

import html
import itertools
import re
from dataclasses import dataclass, field

import requests

from models.session import Sessions, transaction
from sync.actions import Actor
from sync.users import Role, create_user, open_login
from tests.integration.served import Web

PASSWORD = "correct horse battery"
numbers = itertools.count(1)


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
        told = {"X-Forwarded-For": self.address, "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
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
