"""What every command of ``watertight`` needs: a connected runtime, and lines with their process's name."""

from __future__ import annotations

import getpass
import os
import sys

from models import listings
from models.session import transaction
from sync.actions import Actor
from workers import observability
from workers.settings import Settings, load
from workers.wiring import Runtime, build


def runtime(settings: Settings | None = None) -> Runtime:
    """For everything but commits; logs only what matters, to stderr."""
    settings = settings or load()
    observability.configure("WARNING")
    return build(settings)


def read_calendars() -> list[listings.CalendarRecord]:
    with transaction(runtime().sessions) as session:
        return listings.list_calendars(session)


def operator() -> Actor:
    """Who types, by the operating system; in a container that may be a number without a name."""
    try:
        return Actor(getpass.getuser(), "cli")
    except (KeyError, OSError):
        return Actor(f"uid {os.getuid()}", "cli")


def line(name: str, text: str) -> None:
    """One stream, each line with its process's name."""
    sys.stdout.write(f"{name:<18} {text}\n")
    sys.stdout.flush()
