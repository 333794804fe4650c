"""How Flower is started: what it keeps, what it shows, and whom it lets in."""

from __future__ import annotations

import sys
from pathlib import Path

from workers.settings import Settings, SettingsError
from workers.web.loopback import is_loopback

COLUMNS = "name,args,state,result,received,runtime,worker"
SAVE_MILLISECONDS = 60_000  # it also saves when it stops; on busy machines every save takes seconds
MOST_TASKS = 5_000  # that it keeps in memory and saves: its own 100,000 would be hundreds of MiB


def command(settings: Settings, *, port: int) -> tuple[str, ...]:
    """What it saw it keeps between runs; it is a viewer, not the record."""
    database = settings.state_dir.resolve() / "flower.db"
    return (
        *(sys.executable, "-m", "celery", "-A", "workers.app", "flower"),
        f"--address={settings.flower_address}",
        f"--port={port}",
        "--persistent=True",
        f"--db={database}",
        f"--state_save_interval={SAVE_MILLISECONDS}",
        f"--max_tasks={MOST_TASKS}",
        f"--tasks_columns={COLUMNS}",
        f"--conf={Path(__file__).with_name('flowerconfig.py')}",
    )


def environment(settings: Settings) -> dict[str, str]:
    """Who gets in. Passwords go this way since everybody can read a command line.

    Raises:
        SettingsError: others can reach it, and nobody would be asked for a password.
    """
    if settings.flower_users is not None:
        return {"FLOWER_BASIC_AUTH": settings.flower_users.get_secret_value()}
    if not is_loopback(settings.flower_address):
        raise SettingsError(
            "WATERTIGHT_FLOWER_ADDRESS: outside of loopback, set WATERTIGHT_FLOWER_USERS (name:password)"
        )
    # Its API is shut by default, because it can also send tasks: here whoever reaches it can reach the broker anyway.
    return {"FLOWER_UNAUTHENTICATED_API": "true"}
