"""A form of one's own is told what became of a submission: in its redirect, or as JSON."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from providers.webform.mapping import read_mapping
from sync.domain import Interval
from sync.errors import Malformed
from tests.integration.desk import Desk, open_desk
from tests.integration.world import at
from workers.embedded import EmbeddedPostgres

PLAIN = {"open": True, "agent": "dana", "start": "start", "minutes": 60, "title": "Visit", "id": "id", "wait": 10}
BACK = "https://www.example.com/thanks?lang=de#top"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def desk(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("mappings")
    forms = {"plain": PLAIN, "page": PLAIN | {"redirect": BACK}, "hasty": PLAIN | {"wait": 0.2}}
    forms["hasty-page"] = forms["hasty"] | {"redirect": "/thanks"}
    for name, mapping in forms.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(mapping))
    settings = {"WATERTIGHT_FORMS_DIR": str(folder)}
    with open_desk(postgres, tmp_path_factory.mktemp("web"), name="outcomes", **settings) as opened:
        yield opened


def submit(desk: Desk, form: str, interval: Interval, *, number: int | None = None) -> requests.Response:
    body = {"id": number or next(numbers), "start": interval.start.isoformat()}
    address = f"{desk.web.url}/webhooks/forms/{form}"
    return requests.post(address, json=body | {"id": str(body["id"])}, timeout=30, allow_redirects=False)


def test_a_visitor_comes_back_to_a_page_that_knows_the_outcome(desk: Desk) -> None:
    with desk.deciding():
        booked, refused = (submit(desk, "page", at(9)) for _ in range(2))
    proposals = desk.ask("GET", "/api/proposals").json()["proposals"]
    numbers_of = {one["state"]: one["id"] for one in proposals}
    assert (booked.status_code, refused.status_code) == (303, 303)
    assert booked.headers["Location"] == (
        f"https://www.example.com/thanks?lang=de&outcome=booked&reference={numbers_of['settled']}#top"
    )
    assert f"outcome=refused&reference={numbers_of['refused']}" in refused.headers["Location"]


def test_a_program_is_told_the_outcome_and_what_is_still_free(desk: Desk) -> None:
    with desk.deciding():
        booked = submit(desk, "plain", at(11), number=100)
        refused = submit(desk, "plain", at(11))
        again = submit(desk, "plain", at(11), number=100)
    assert (booked.status_code, booked.json()["state"], booked.json()["reason"]) == (200, "settled", "accepted")
    assert (again.status_code, again.json()) == (200, booked.json())
    assert set(booked.json()) == {"id", "state", "reason"}
    told = refused.json()
    assert (refused.status_code, told["state"], told["reason"]) == (200, "refused", "slot_taken")
    assert (len(told["alternatives"]), set(told["alternatives"][0])) == (5, {"start", "end", "version"})


def test_whoever_cannot_be_told_yet_is_told_so(desk: Desk) -> None:
    told = submit(desk, "hasty", at(13))
    assert (told.status_code, told.json()["state"], set(told.json())) == (202, "pending", {"id", "state"})
    back = submit(desk, "hasty-page", at(13))
    assert back.headers["Location"].startswith("/thanks?outcome=pending&reference=")


@pytest.mark.parametrize("wait", [-1, 10.1, "soon", float("nan"), True])
def test_a_wait_that_cannot_be_is_refused_with_the_mapping(tmp_path: Path, wait: object) -> None:
    (tmp_path / "form.yaml").write_text(yaml.safe_dump(PLAIN | {"wait": wait}))
    with pytest.raises(Malformed, match="wait"):
        read_mapping(tmp_path / "form.yaml")
