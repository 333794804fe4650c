"""``watertight agents import``: each slip of the hand is named by its field, and nothing is stored then."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from models.agents import Agent, Calendar
from models.listings import list_calendars
from models.session import Sessions, transaction
from sync.errors import Malformed
from workers.agents_file import read_agents, store_agents

GOOD = """
agents:
  - slug: dana
    zone: America/Chicago
    calendars:
      - {provider: outlook, remote: dana@example.test, role: master}
      - {provider: google, remote: dana@example.test, role: mirror}
"""
TOML = """
[[agents]]
slug = "dana"
zone = "America/Chicago"
[[agents.calendars]]
provider = "outlook"
remote = "dana@example.test"
role = "master"
"""
SECOND_MASTER = "- {provider: google, remote: other@example.test, role: master}"
BEN = GOOD.removeprefix("\nagents:\n").replace("dana", "ben")


def wrong(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def imported(sessions: Sessions, folder: Path, content: str, *, name: str = "agents.yaml") -> tuple[int, int]:
    file = folder / name
    file.write_text(content)
    return store_agents(sessions, read_agents(file))


def refusal(folder: Path, content: str | bytes, *, name: str = "agents.yaml") -> Malformed:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Malformed) as caught:
        read_agents(file)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("content", "field", "reason"),
    [
        (wrong("America/Chicago", "America/Chikago"), "agents.0.zone", "IANA"),
        (wrong("America/Chicago", "CST"), "agents.0.zone", "IANA"),
        (wrong("America/Chicago", "6"), "agents.0.zone", "string"),
        (wrong("zone: America/Chicago", "zone:"), "agents.0.zone", "string"),
        (wrong("    zone: America/Chicago\n", ""), "agents.0.zone", "required"),
        (wrong("mirror", "master"), "agents.0", "2 master"),
        (wrong("master", "source"), "agents.0", "0 master"),
        (wrong("mirror", "boss"), "agents.0.calendars.1.role", "'mirror'"),
        (wrong("google", "hotmail"), "agents.0.calendars.1.provider", "'outlook'"),
        (wrong("zone:", "buffer_after_minutes: 1441\n    zone:"), "agents.0.buffer_after_minutes", "1440"),
        (wrong("zone:", "buffer_before_minutes: soon\n    zone:"), "agents.0.buffer_before_minutes", "integer"),
        (wrong("zone:", "buffer_before_minutes:\n    zone:"), "agents.0.buffer_before_minutes", "integer"),
        (wrong("zone:", "colour: red\n    zone:"), "agents.0.colour", "not permitted"),
        (wrong("slug: dana", "slug: Dana Scully"), "agents.0.slug", "pattern"),
        (wrong("slug: dana", "slug: 7"), "agents.0.slug", "string"),
        (
            wrong("remote: dana@example.test, role: mirror", "remote: '', role: mirror"),
            "agents.0.calendars.1.remote",
            "1",
        ),
        (GOOD + GOOD.removeprefix("\nagents:\n"), "agents", "dana appears twice"),
        (wrong("google, remote: dana@", "outlook, remote: DANA@"), "agents", "outlook dana@example.test appears twice"),
        (wrong("zone:", "slug: ben\n    zone:"), "agents.yaml", "the key 'slug' appears twice"),
        ("agents: dana", "agents", "list"),
        ("agents:", "agents", "list"),
        ("- dana", "agents", "no such key"),
        ("", "agents", "no such key"),
        ("people: []", "agents", "required"),
        ("agents: [", "agents.yaml", "is not YAML"),
        ("agents: !!python/object:os.system {}", "agents.yaml", "is not YAML"),
        (b"agents: \xff", "agents.yaml", "is not UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_by_field(tmp_path: Path, content: str | bytes, field: str, reason: str) -> None:
    error = refusal(tmp_path, content)
    assert (error.field.removeprefix(f"{tmp_path}/"), reason in str(error)) == (field, True), str(error)


def test_every_wrong_field_is_told_at_once(tmp_path: Path) -> None:
    error = refusal(tmp_path, wrong("America/Chicago", "Nowhere").replace("google", "hotmail"))
    assert ("agents.0.zone" in str(error), "agents.0.calendars.1.provider" in str(error)) == (True, True)


def test_broken_toml_and_a_key_twice_are_refused(tmp_path: Path) -> None:
    for content in ("[[agents]", TOML.replace('zone = "', 'slug = "ben"\nzone = "')):
        error = refusal(tmp_path, content, name="agents.toml")
        assert (error.field, "is not TOML" in error.reason) == (str(tmp_path / "agents.toml"), True)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for place in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(Malformed, match="cannot be read") as caught:
            read_agents(place)
        assert caught.value.field == str(place)


def test_yaml_and_toml_say_the_same(tmp_path: Path) -> None:
    for name, content in (("a.yaml", GOOD), ("a.TOML", TOML)):
        (tmp_path / name).write_text(content)
    from_yaml, from_toml = read_agents(tmp_path / "a.yaml"), read_agents(tmp_path / "a.TOML")
    assert from_yaml.agents[0].calendars[0] == from_toml.agents[0].calendars[0]


def test_imported_twice_it_updates(app_sessions: Sessions, tmp_path: Path) -> None:
    assert imported(app_sessions, tmp_path, GOOD) == (1, 0)
    changed = wrong("America/Chicago", "Europe/Berlin").replace("role: mirror", "role: mirror, shows: busy")
    assert imported(app_sessions, tmp_path, changed + BEN) == (1, 1)
    with transaction(app_sessions) as session:
        calendars = list_calendars(session)
        shows = session.scalars(select(Calendar.shows).where(Calendar.role == "mirror")).all()
    assert [(one.agent, one.zone) for one in calendars] == [("ben", "America/Chicago")] * 2 + [
        ("dana", "Europe/Berlin")
    ] * 2
    assert sorted(shows) == ["busy", "title"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (wrong("master", "source").replace("mirror", "master"), "a role never changes"),
        (
            wrong("google, remote: dana@example.test, role: mirror", "google, remote: new@example.test, role: source"),
            None,
        ),
        (wrong("outlook, remote: dana@", "outlook, remote: new@"), "dana has another master already"),
        (BEN.replace("ben@", "Dana@"), "belongs to another agent"),
    ],
)
def test_what_appointments_would_not_survive_is_refused(
    app_sessions: Sessions, tmp_path: Path, content: str, reason: str | None
) -> None:
    imported(app_sessions, tmp_path, GOOD)
    content = content if content.startswith("\n") else f"agents:\n{content}"
    if reason is None:
        assert imported(app_sessions, tmp_path, content) == (0, 1)
        return
    with pytest.raises(Malformed, match=reason):
        imported(app_sessions, tmp_path, content)


def test_one_refusal_stores_nothing_of_the_file(app_sessions: Sessions, tmp_path: Path) -> None:
    imported(app_sessions, tmp_path, GOOD)
    with pytest.raises(Malformed, match="belongs to another agent"):
        imported(app_sessions, tmp_path, "agents:\n" + BEN.replace("google, remote: ben@", "google, remote: dana@"))
    with transaction(app_sessions) as session:
        assert session.scalars(select(Agent.slug)).all() == ["dana"]
