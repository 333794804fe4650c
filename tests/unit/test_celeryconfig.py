"""Celery's settings are data, each with its reason, and agree with each other."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from celery.app.defaults import SETTING_KEYS
from kombu.exceptions import OperationalError

import celeryconfig
from workers.app import app
from workers.commit import RETRY_WITHIN_SECONDS
from workers.jobs import POLICY

FILE = Path(celeryconfig.__file__)
SOURCE = FILE.read_text(encoding="utf-8")
TREE = ast.parse(SOURCE)
QUEUE_OF = {
    "NewAppointmentSync": "new",
    "NewAppointmentSync.calendar": "new",
    "CancellationSync": "cancel",
    "CancellationSync.calendar": "cancel",
    "UpdateSync": "update",
    "UpdateSync.calendar": "update",
    "Commit": "commit",
    "ResumeCommits": "upkeep",
    "ReleaseHolds": "upkeep",
    "RenewSubscriptions": "upkeep",
    "AuditDrift": "upkeep",
    "Prune": "upkeep",
}


def settings() -> dict[str, ast.Assign]:
    return {ast.unparse(node.targets[0]): node for node in TREE.body if isinstance(node, ast.Assign)}


def test_it_holds_data_only() -> None:
    assert {type(node) for node in TREE.body} == {ast.Expr, ast.Assign}
    computing = (ast.Call, ast.Lambda, ast.ListComp, ast.DictComp, ast.Import, ast.ImportFrom, ast.FunctionDef)
    assert [node.lineno for node in ast.walk(TREE) if isinstance(node, computing)] == []
    public = {name: value for name, value in vars(celeryconfig).items() if not name.startswith("__")}
    assert json.loads(json.dumps(public)) == public


def test_every_setting_has_a_reason_near_it() -> None:
    """On its own line, or above the block it belongs to."""
    lines = SOURCE.splitlines()
    for name, node in settings().items():
        block = node.lineno - 1
        while block > 0 and lines[block - 1].strip():
            block -= 1
        near = lines[block : (node.end_lineno or node.lineno)]
        assert [line for line in near if "# " in line], name


def test_celery_knows_every_setting() -> None:
    assert settings().keys() - SETTING_KEYS == {"visibility_timeout"}


def test_there_are_five_queues_each_with_an_exchange_and_a_key_of_its_own() -> None:
    queues = {name: (queue.exchange.name, queue.routing_key) for name, queue in app.amqp.queues.items()}
    assert queues == {name: (name, name) for name in ("new", "cancel", "update", "commit", "upkeep")}


def test_every_task_is_registered_and_routed() -> None:
    app.loader.import_default_modules()  # and workers.commit, which only the commit worker includes: imported above
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours == QUEUE_OF.keys() == celeryconfig.task_routes.keys()
    assert {name: app.amqp.router.route({}, name)["queue"].name for name in ours} == QUEUE_OF


def test_a_misspelt_queue_is_refused() -> None:
    with pytest.raises(Exception, match="comit"):
        app.amqp.router.route({"queue": "comit"}, "Commit")


def test_only_json_is_spoken() -> None:
    assert (app.conf.accept_content, app.conf.task_serializer, app.conf.result_serializer) == (["json"], "json", "json")


def test_a_message_is_not_delivered_again_while_it_is_worked_on() -> None:
    visible = celeryconfig.broker_transport_options["visibility_timeout"]
    assert visible == celeryconfig.visibility_timeout > 3 * celeryconfig.task_time_limit
    assert celeryconfig.task_soft_time_limit < celeryconfig.task_time_limit
    assert max(POLICY.cap, RETRY_WITHIN_SECONDS) < visible


def test_whoever_sends_looks_for_a_broker_that_is_away_for_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("kombu.utils.functional.sleep", slept.append)
    nowhere = app.connection_for_write("redis://127.0.0.1:1/0")
    with nowhere, pytest.raises(OperationalError):
        assert nowhere.default_channel
    assert 0 < sum(slept) <= 1


@pytest.mark.parametrize("name", [name for name in QUEUE_OF if name.endswith(("Sync", ".calendar"))])
def test_the_jobs_have_no_time_limit_that_a_thread_pool_would_ignore(name: str) -> None:
    app.loader.import_default_modules()
    task = app.tasks[name]
    assert (task.time_limit, task.soft_time_limit) == (None, None)


@pytest.mark.parametrize(
    "name", ["NewAppointmentSync.calendar", "CancellationSync.calendar", "UpdateSync.calendar", "Commit"]
)
def test_only_our_own_policy_ends_retries(name: str) -> None:
    """Celery's default would be three, and a ``max_retries=None`` in the call of retry means that default."""
    assert app.tasks[name].max_retries is None
