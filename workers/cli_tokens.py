"""The commands about tokens of the API. A token is printed once, when it is made, and never again."""

from __future__ import annotations

import json as jsonlib
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from models.session import transaction
from sync.tokens import MOST_PER_MINUTE, PER_MINUTE, Scope, create_token, list_tokens, revoke_token
from workers.listing import AsJson, show
from workers.terminal import line, runtime

tokens = typer.Typer(help="Who may use the API.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, for people: crm, website …")]


@tokens.command("create")
def create(
    name: Name,
    scope: Annotated[
        list[Scope],
        typer.Option(
            "--scope",
            help="May be repeated. read: what is free, and proposals; book: proposals and holds; change: move and cancel; metrics: /metrics.",
        ),
    ],
    per_minute: Annotated[int, typer.Option(min=1, max=MOST_PER_MINUTE, help="Requests.")] = PER_MINUTE,
    json: AsJson = False,  # noqa: FBT002 - a command-line flag
) -> None:
    """Make a token and print it: it is kept nowhere, so this is the only time."""
    with transaction(runtime().sessions) as session:
        made, token = create_token(session, name, scopes=scope, per_minute=per_minute)
    if json:
        shown = {"name": made.name, "token": token, "scopes": made.scopes, "per_minute": made.per_minute}
        sys.stdout.write(jsonlib.dumps(shown) + "\n")
        return
    sys.stdout.write(f"{token}\n")
    sys.stderr.write("watertight: this is shown once; send it as Authorization: Bearer …\n")


@tokens.command("revoke")
def revoke(name: Name) -> None:
    """Let nobody in with it any more; every process knows within five seconds."""
    with transaction(runtime().sessions) as session:
        revoke_token(session, name)
    line("watertight", f"token {name} is revoked")


@tokens.command("list")
def list_all(json: AsJson = False) -> None:  # noqa: FBT002 - a command-line flag
    """Every token without itself: scopes, limit, last use."""
    with transaction(runtime().sessions) as session:
        rows = [asdict(token) | {"scopes": list(token.scopes)} for token in list_tokens(session)]
    show(rows, as_json=json)
