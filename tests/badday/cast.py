"""Who takes part in a bad day: agents all over the world, each with a master, a mirror and two sources."""

from __future__ import annotations

import json
from pathlib import Path

from workers.agents_file import AgentsFile
from workers.settings import EMULATED_HOSTS_FILE

FIRST = {"dana": "America/Chicago", "ben": "Europe/Berlin", "asha": "Asia/Kathmandu"}  # a new state directory has them
ZONES = (
    *("America/St_Johns", "Australia/Lord_Howe", "Pacific/Auckland", "America/Los_Angeles", "Asia/Kolkata", "UTC"),
    *("Europe/London", "America/Sao_Paulo", "Africa/Cairo", "Asia/Tokyo", "Pacific/Chatham", "America/Phoenix"),
    *("Asia/Tehran", "Europe/Lisbon", "Pacific/Honolulu", "Africa/Casablanca", "America/Halifax"),
)


def agents(count: int) -> AgentsFile:
    """The first three and as many more as it takes."""
    others = {f"agent-{number:02}": ZONES[number % len(ZONES)] for number in range(len(FIRST), count)}
    zones = dict(list({**FIRST, **others}.items())[:count])
    entries = [_agent(slug, zone, owner=101 + number) for number, (slug, zone) in enumerate(zones.items())]
    return AgentsFile.model_validate({"agents": entries})


def _agent(slug: str, zone: str, *, owner: int) -> dict[str, object]:
    calendars = (
        ("outlook", f"{slug}@watertight.example", "master"),
        ("google", f"{slug}@watertight.example", "mirror"),
        ("hubspot", str(owner), "source"),
        ("calcom", slug, "source"),
    )
    named = [{"provider": provider, "remote": remote, "role": role} for provider, remote, role in calendars]
    return {"slug": slug, "zone": zone, "calendars": named}


def keep_keys(state_dir: Path, cast: AgentsFile) -> None:
    """A key of Cal.com for each host: the limit of requests is each key's own."""
    hosts = [calendar.remote for agent in cast.agents for calendar in agent.calendars if calendar.provider == "calcom"]
    keys = {host: f"cal_test_{host}" for host in hosts}
    (state_dir / EMULATED_HOSTS_FILE).write_text(json.dumps(keys), encoding="utf-8")
