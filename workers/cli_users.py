"""The commands about people who may use the console. A password is typed or piped in, never an argument."""

from __future__ import annotations

import getpass
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from models.session import transaction
from sync.actions import Actor
from sync.errors import Malformed
from sync.users import Role, create_user, disable_user, list_users, set_password
from workers.listing import AsJson, show
from workers.terminal import line, runtime

users = typer.Typer(help="Who may use the console.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Who it is: letters, digits and . _ @ -")]


@users.command("create")
def create(
    name: Name,
    role: Annotated[Role, typer.Option(help="viewer: sees everything; operator: may also change and repair.")],
) -> None:
    """Let somebody in. Asks for a password of at least 12 characters, or reads it from standard input."""
    password = _read_password()
    with transaction(runtime().sessions) as session:
        create_user(session, name, role=role, password=password, by=_operator())
    line("watertight", f"user {name} may sign in as {role.value}")


@users.command("password")
def password_of(name: Name) -> None:
    """Give somebody a new password; every browser of theirs is signed out."""
    password = _read_password()
    with transaction(runtime().sessions) as session:
        set_password(session, name, password, by=_operator())
    line("watertight", f"user {name} has a new password and is signed out everywhere")


@users.command("disable")
def disable(name: Name) -> None:
    """Let somebody in no longer, at once."""
    with transaction(runtime().sessions) as session:
        disable_user(session, name, by=_operator())
    line("watertight", f"user {name} is disabled and signed out everywhere")


@users.command("list")
def list_all(json: AsJson = False) -> None:  # noqa: FBT002 - a command-line flag
    """Everybody with their role, and since when they are disabled."""
    with transaction(runtime().sessions) as session:
        show([asdict(user) for user in list_users(session)], as_json=json)


def _operator() -> Actor:
    return Actor(getpass.getuser(), "cli")


def _read_password() -> str:
    """Twice from a terminal, without showing it; else the first line of what is piped in.

    Raises:
        Malformed: the two differ.
    """
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise Malformed("password", "was not typed the same twice")
    return password
