"""``watertight``: exit code 0 for success, 1 for a failure said in one sentence, 2 for wrong arguments."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from psycopg import errors as refusals
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from models import history, queries
from models.agents import Agent
from models.migrate import MigrationBlockedError, upgrade
from models.session import database_now, make_engine, transaction
from sync.errors import NotFound, WatertightError
from workers.agents_file import read_agents, store_agents
from workers.cli_alerts import alerts
from workers.cli_audit import audit
from workers.cli_calendars import calendars, doctor, sync
from workers.cli_failures import failures
from workers.cli_flower import serve as flower
from workers.cli_schedule import schedule
from workers.cli_tokens import tokens
from workers.cli_users import users
from workers.embedded import EmbeddedError
from workers.emulate import PROVIDERS, serve
from workers.listing import AsJson, read_instant, show, show_past, show_story
from workers.settings import Settings, SettingsError, load
from workers.supervisor import NotReady
from workers.terminal import line, read_calendars, runtime

EXPECTED = (SettingsError, EmbeddedError, NotReady, WatertightError, MigrationBlockedError, ValueError)
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BIGGEST = 2**63 - 1  # of a bigint

app = typer.Typer(
    name="watertight",
    help="One master calendar per agent; every other system only proposes. Nobody is booked twice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
agents = typer.Typer(help="Who has which calendars.", no_args_is_help=True)
for name, group in (
    ("agents", agents),
    ("calendars", calendars),
    ("failures", failures),
    ("alerts", alerts),
    ("schedule", schedule),
    ("tokens", tokens),
    ("users", users),
):
    app.add_typer(group, name=name)
app.command()(sync)
app.command()(doctor)
app.command()(audit)
app.command("flower")(flower)


def main() -> None:
    """The console script."""
    try:
        app()
    except SQLAlchemyError as error:
        _fail(_database_sentence(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except EXPECTED as error:
        _fail(str(error))


@app.command()
def up() -> None:
    """Start everything here: database, broker, emulators (unless real credentials are set), workers, beat, Flower, web."""
    from workers.up import running  # noqa: PLC0415 - `watertight --help` should not load the whole stack

    settings = load()
    with _stoppable(), running(settings, log=line) as run:
        line("watertight", f"web     {run.web}")
        line("watertight", f"api     {_api(run.settings)}")
        line("watertight", f"flower  {run.flower}")
        line("watertight", f"console {run.web}/console (first: watertight users create NAME --role operator)")
        for provider, url in run.emulators.items():
            line("watertight", f"{provider:<7} {url} (emulated)")
        line("watertight", "ready; Ctrl-C stops everything")
        while True:
            run.keep()
            time.sleep(1)


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(min=10, help="How long; without it until Ctrl-C.")] = None,
    json: AsJson = False,  # noqa: FBT002 - a command-line flag
) -> None:
    """Watch two prospects race for one hour, then steady traffic, then a verdict. Exit code 1 if a promise broke."""
    from workers.demo import run_demo  # noqa: PLC0415 - as above

    with _stoppable():
        code = run_demo(load(), seconds=seconds, as_json=json)
    raise typer.Exit(code)


@app.command()
def emulate(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help=f"One of: {', '.join(PROVIDERS)}.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 0,
    journal: Annotated[Path | None, typer.Option(help="Keep the calendars in this file.")] = None,
) -> None:
    """Serve one vendor's emulator on loopback, with /_control to play with it."""
    if provider not in PROVIDERS:
        raise typer.BadParameter(
            f"unknown provider {provider!r}: known are {', '.join(PROVIDERS)}", param_hint="PROVIDER"
        )
    serve(provider, port=port, journal=journal, announce=lambda url: line(provider, url))


@app.command()
def migrate() -> None:
    """Bring the database to the newest tables and grants. Safe to run again, by several at once, and while workers run."""
    engine = make_engine(load().owner_database())
    upgrade(engine)
    engine.dispose()
    line("watertight", "the database is up to date")


@agents.command("import")
def import_agents(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML or TOML; see docs/agents.md.")],
) -> None:
    """Add agents and their calendars, or update them; all or nothing."""
    entries = read_agents(file)
    added, updated = store_agents(runtime().sessions, entries)
    line("watertight", f"{added} agents added, {updated} updated")


@agents.command("list")
def list_agents(json: AsJson = False) -> None:  # noqa: FBT002 - a command-line flag
    """Every agent with zone and calendars."""
    rows: dict[str, dict[str, object]] = {}
    for calendar in read_calendars():
        row = rows.setdefault(calendar.agent, {"agent": calendar.agent, "zone": calendar.zone, "calendars": []})
        names = row["calendars"]
        if isinstance(names, list):
            names.append(f"{calendar.provider} {calendar.role}")
    show(list(rows.values()), as_json=json)


@app.command()
def explain(
    proposal: Annotated[int, typer.Argument(metavar="PROPOSAL", min=1, max=BIGGEST, help="Its number.")],
    json: AsJson = False,  # noqa: FBT002 - a command-line flag
) -> None:
    """Why a proposal was decided as it was: what was read, when, and what was in the way."""
    with transaction(runtime().sessions) as session:
        story = queries.find_proposal(session, proposal)
        changes = history.list_changes(session, f"proposal:{proposal}", f"hold:{proposal}")
    if story is None:
        raise NotFound(f"no proposal {proposal}")
    show_story(story, changes, as_json=json)


@app.command("history")
def show_history(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Whose calendar; see agents list.")],
    at: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="With offset, such as 2027-03-08T15:00:00Z; without it, now.")
    ] = None,
    json: AsJson = False,  # noqa: FBT002 - a command-line flag
) -> None:
    """An agent's calendar as the ledger had it at a past instant, rebuilt from the log of changes."""
    with transaction(runtime().sessions) as session:
        agent_id = session.scalar(select(Agent.id).where(Agent.slug == agent))
        if agent_id is None:
            raise NotFound(f"no agent {agent!r}")
        instant = read_instant(at) if at else database_now(session)
        past = history.calendar_as_of(session, agent_id, instant)
    show_past(past, as_json=json)


def _api(settings: Settings) -> str:
    if settings.api_open:
        return "open to this machine without a token: nothing here is real, or you decided so (WATERTIGHT_API_OPEN)"
    return "needs a token: watertight tokens create NAME --scope read --scope book --scope change"


def _fail(sentence: str) -> NoReturn:
    sys.stderr.write(f"watertight: {sentence}\n")
    sys.exit(1)


def _database_sentence(error: SQLAlchemyError) -> str:
    """What the server said in its first line; the rest may quote rows."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, refusals.UndefinedTable | refusals.UndefinedColumn):
        return "the database is not migrated: watertight migrate"
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or [type(cause).__name__]
    said = lines[0].removeprefix("connection failed: ").rstrip(".")
    if 'role "watertight_' in said:
        return f"the database is not migrated (watertight migrate), or this user may not take its roles: {said}"
    return (
        f"the database cannot be used: {said}"
        if isinstance(error, OperationalError)
        else f"the database refused: {said}"
    )


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end the block in order; the program then ends with success."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        for one in STOPS:
            signal.signal(one, signal.SIG_IGN)  # a second one must not break the orderly stop
        raise KeyboardInterrupt

    for one in STOPS:
        signal.signal(one, stop)
    try:
        yield
    except KeyboardInterrupt:
        line("watertight", "stopped")


if __name__ == "__main__":
    main()
