"""The command that runs Flower by itself, for a machine or container of its own."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from workers import flower
from workers.settings import load

DEFAULT_PORT = 5555


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes WATERTIGHT_FLOWER_PORT, or else 5555.")] = 0,
) -> None:
    """Run Flower here until it is stopped: what tasks do, and which workers are up (docs/flower.md)."""
    settings = load()
    env = os.environ | flower.environment(settings)
    command = flower.command(settings, port=port or settings.flower_port or DEFAULT_PORT)
    os.execve(command[0], command, env)  # noqa: S606 - our own program, which takes signals by itself
