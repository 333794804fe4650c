"""The commands about alerts: what is open, what to do about one, closing one by hand, and whether they reach anybody."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from models.incidents import AlertRecord, find_alert
from models.listings import list_alerts
from models.session import transaction
from sync.actions import record_action
from sync.catalogue import entry_of
from sync.errors import NotFound
from sync.failures import resolve_alerts
from workers.listing import AsJson, show, show_record
from workers.settings import load
from workers.terminal import line, operator, runtime

BIGGEST = 2**63 - 1  # of a bigint
TEST_TITLE = "[test] watertight: alerts arrive here"
TEST_BODY = "This is a test. Nothing has happened, and nothing is to be done. It was sent by: watertight alerts test"

alerts = typer.Typer(help="What somebody must know, and whether it reaches them.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(metavar="ID", min=1, max=BIGGEST, help="See alerts list.")]


@alerts.command("list")
def list_open(json: AsJson = False) -> None:  # noqa: FBT002 - a command-line flag
    """Open alerts, newest first."""
    with transaction(runtime().sessions) as session:
        show(list_alerts(session), as_json=json)


@alerts.command("show")
def show_alert(alert: Id, json: AsJson = False) -> None:  # noqa: FBT002 - a command-line flag
    """One alert: what happened, who is affected, what the system does by itself, and what you can do."""
    connected = runtime()
    with transaction(connected.sessions) as session:
        found = _get(find_alert(session, alert), alert)
    show_record(explained(found, runbook=connected.settings.runbook_url), as_json=json)


@alerts.command("close")
def close(alert: Id) -> None:
    """Close an alert by hand, when it has been seen to. If its cause is still there, it opens again."""
    with transaction(runtime().sessions) as session:
        found = _get(find_alert(session, alert), alert)
        if found.resolved_at is None:
            resolve_alerts(session, [found.cause])
            record_action(session, operator(), "alerts.close", about=f"alert:{alert}", after={"code": found.code})
    line("watertight", f"alert {alert} is closed")


@alerts.command("test")
def send_test(json: AsJson = False) -> None:  # noqa: FBT002 - a command-line flag
    """Send a test message to every place of WATERTIGHT_ALERT_URLS. Exit code 1 if one does not accept it."""
    from workers.places import Place  # noqa: PLC0415 - `watertight --help` should not load every service of the world

    places = [Place(url) for url in load().alert_places()]
    rows = [
        {"place": place.shown, "accepted": place.send(TEST_TITLE, TEST_BODY, kind="test"), "trouble": place.trouble()}
        for place in places
    ]
    if not rows and not json:
        sys.stderr.write("watertight: WATERTIGHT_ALERT_URLS is not set: alerts stay in the table (docs/alerts.md)\n")
        return
    show(rows, as_json=json)
    if not all(row["accepted"] for row in rows):
        raise typer.Exit(1)


def explained(alert: AlertRecord, *, runbook: str) -> dict[str, Any]:
    """An alert with what the catalogue says about its code."""
    entry = entry_of(alert.code)
    return {
        "alert": alert.id,
        "title": entry.title,
        "severity": alert.severity,
        "code": alert.code,
        "about": alert.about or alert.cause,
        "times": alert.times,
        "opened_at": alert.opened_at,
        "last_seen": alert.last_seen,
        "closed_at": alert.resolved_at,
        "happened": entry.happened,
        "affected": entry.affected,
        "by_itself": entry.by_itself,
        "do": entry.do,
        "commands": list(entry.fill(alert.detail | {"alert": alert.id, "code": alert.code})),
        "runbook": f"{runbook}#{alert.code}",
        "detail": alert.detail,
    }


def _get(found: AlertRecord | None, number: int) -> AlertRecord:
    if found is None:
        raise NotFound(f"no alert {number}")
    return found
