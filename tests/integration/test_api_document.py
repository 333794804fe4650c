"""Every example of docs/api.md is sent, and answered as the document shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import text

from models.session import transaction
from sync.domain import Job
from tests.integration.desk import Desk, open_desk
from tests.integration.served import ROOT
from workers.embedded import EmbeddedPostgres

EXAMPLE = re.compile(r"```sh\n(curl .+?)```\s+```json (\d+)\n(.+?)```", re.DOTALL)
DOCUMENT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.fixture
def desk(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(postgres, tmp_path_factory.mktemp("web"), name="document") as opened:
        with transaction(opened.world.app) as session:
            session.execute(text("UPDATE agents SET zone = 'America/Chicago'"))
        for job in Job:
            opened.world.detect(job, "dana-master")
        yield opened


def send(command: str, *, desk: Desk) -> requests.Response:
    """As curl would, with the document's two days in the near future."""
    for shown, days in (("2027-03-08", 10), ("2027-03-09", 11)):
        command = command.replace(shown, f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}")
    words = shlex.split(command.replace("\\\n", " ").replace("$TOKEN", desk.token).replace("$WATERTIGHT", desk.web.url))
    headers: dict[str, str] = {}
    body, url = None, words[1]
    for option, value in zip(words[2::2], words[3::2], strict=True):
        if option == "-H":
            name, _, said = value.partition(": ")
            headers[name] = said
        else:
            assert option == "-d"
            body = value
    return requests.request("GET" if body is None else "POST", url, data=body, headers=headers, timeout=30)


def shape(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Names and kinds, without the values; of a list its first item."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__ if not isinstance(value, int | float) else "number"


def test_every_example_is_answered_as_shown(desk: Desk) -> None:
    examples = EXAMPLE.findall(DOCUMENT)
    assert (len(examples), DOCUMENT.count("curl ")) == (7, 7)
    with desk.deciding():
        for command, status, shown in examples:
            answer = send(command, desk=desk)
            assert (command, answer.status_code) == (command, int(status)), answer.text
            assert shape(answer.json()) == shape(json.loads(shown)), answer.text
