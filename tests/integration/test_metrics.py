"""``/metrics`` of a real web process beside a real database and broker: what it shows, to whom, and what when one is away."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, text

from models.session import transaction
from sync.tokens import Scope, create_token
from tests.conftest import Shared
from tests.integration.served import ROOT, Web, serve
from tests.integration.world import World, at
from workers.app import app
from workers.embedded import EmbeddedValkey
from workers.standing import StandingCollector, connect
from workers.telemetry import empty_metrics

MONITORING = ROOT / "docs" / "monitoring"
PROMTOOL = os.environ.get("WATERTIGHT_PROMTOOL") or shutil.which("promtool")
METRIC = re.compile(r"\bwatertight_[a-z_]+")
Labels = tuple[tuple[str, str], ...]

# A worker whose pool replaces its only child twice, and which asks vendors itself as a pool of threads would.
WORKER = """
import os
from billiard.pool import Pool
from providers.observed import listen, observed, tell_parked, tell_turned_away
from workers.metrics import Counting, count_task

listen(Counting())

def work(number):
    with observed("google", method="GET", route="/calendars/{calendar}/events") as call:
        call.status = "200"
    return os.getpid()

if __name__ == "__main__":
    pool = Pool(1, maxtasksperchild=2)
    print(len({pool.apply(work, (number,)) for number in range(6)}))
    pool.close()
    pool.join()
    work(7)
    tell_parked("google", seconds=30)
    tell_turned_away("google", reason="parked")
    count_task("Commit", state="SUCCESS", seconds=0.2)
"""


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a worker has left, whose process has ended since."""
    folder = tmp_path_factory.mktemp("counted")
    (folder / "work.py").write_text(WORKER)
    directory = empty_metrics(folder)
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "work.py"], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    return directory


@pytest.fixture(scope="module")
def web(
    shared: Shared, valkey: EmbeddedValkey, counted: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    told = {"WATERTIGHT_BROKER_URL": valkey.url(), "PROMETHEUS_MULTIPROC_DIR": str(counted)}
    url = shared.app.url.render_as_string(hide_password=False)
    with serve(tmp_path_factory.mktemp("web"), database_url=url, **told) as served:
        yield served


def scrape(web: Web, **headers: str) -> dict[tuple[str, Labels], float]:
    answer = requests.get(f"{web.url}/metrics", headers=headers, timeout=30)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def of(figures: dict[tuple[str, Labels], float], name: str) -> dict[Labels, float]:
    return {labels: value for (found, labels), value in figures.items() if found == name}


TROUBLE = (
    (
        "INSERT INTO dead_letters (task, reference, branch, code, excerpt, attempts)"
        " VALUES ('Commit', 'proposal:1', 'bug', 'bug', 'KeyError', 1)"
    ),
    "INSERT INTO alerts (cause, code, severity, times) VALUES ('b', 'master_check_bypassed', 'critical', 3)",
    "INSERT INTO notices (what, severity, title, body) VALUES ('test', 'warning', 't', 'b')",
    (
        "INSERT INTO audits (agent_id, state, drift, audited_at)"
        " SELECT id, 'drift', 2, clock_timestamp() - interval '1 hour' FROM agents"
    ),
    "INSERT INTO audits (agent_id, state) SELECT id, 'unreadable' FROM agents",
    (
        "INSERT INTO beat_jobs (name, task, every_seconds, next_slot, last_slot, ran_at) VALUES ('NewAppointmentSync',"
        " 'NewAppointmentSync', 60, now(), now() - interval '70 s', now() - interval '200 s')"
    ),
    "INSERT INTO beat_jobs (name, task, every_seconds, next_slot, enabled) VALUES ('UpdateSync', 'UpdateSync', 60, now(), false)",
    (
        "INSERT INTO channels (calendar_id, remote_id, expires_at)"
        " SELECT id, 'c', clock_timestamp() + interval '1 day' FROM calendars WHERE role = 'master'"
    ),
    "UPDATE calendars SET stopped_code = 'mass_change' WHERE role = 'mirror'",
)


@pytest.fixture
def busy(world: World, owner_engine: object, shared: Shared) -> World:  # noqa: ARG001 - the database is empty at first
    """One booking shown on its mirror, one refused, one still to be decided; and a bit of everything that goes wrong."""
    world.book(at(9))
    world.decide(world.ask(at(9)))
    world.hold(at(12))
    world.ask(at(15))
    with shared.owner.begin() as connection:
        for statement in TROUBLE:
            connection.execute(text(statement))
    return world


def test_everything_that_stands_in_the_tables_is_shown(web: Web, busy: World, valkey: EmbeddedValkey) -> None:  # noqa: ARG001
    broker = redis.Redis.from_url(valkey.url())
    broker.lpush("commit", *("message" for _ in range(7)))
    figures = scrape(web)
    broker.delete("commit")
    broker.close()
    assert of(figures, "watertight_decisions_total") == {
        (("kind", "book"), ("reason", "accepted")): 1,
        (("kind", "book"), ("reason", "slot_taken")): 1,
        (("kind", "hold"), ("reason", "accepted")): 1,
    }
    assert of(figures, "watertight_decide_seconds_count") == {(("kind", "book"),): 2, (("kind", "hold"),): 1}
    assert of(figures, "watertight_reflect_seconds_bucket")[("le", "+Inf"), ("provider", "memory")] == 1
    assert of(figures, "watertight_queue_messages")[(("queue", "commit"),)] == 7
    assert of(figures, "watertight_queue_messages")[(("queue", "new"),)] == 0
    single = {name: value for (name, labels), value in figures.items() if not labels}
    assert [single[f"watertight_{name}"] for name in ("database_up", "broker_up", "scrape_complete")] == [1, 1, 1]
    assert [single[f"watertight_{name}"] for name in ("proposals_open", "holds", "bypass_attempts")] == [1, 1, 3]
    assert of(figures, "watertight_drift") == {(("agent", "dana"),): 2}, "an unreadable audit tells nothing"
    assert 3_600 <= single["watertight_audit_age_seconds"] < 3_700
    assert of(figures, "watertight_dead_letters") == {(("code", "bug"), ("task", "Commit")): 1}
    assert of(figures, "watertight_alerts") == {(("code", "master_check_bypassed"), ("severity", "critical")): 1}
    assert of(figures, "watertight_notices") == {(("state", "due"),): 1, (("state", "failed"),): 0}
    assert of(figures, "watertight_channels") == {(("provider", "memory"), ("state", "healthy")): 1}
    assert of(figures, "watertight_calendars") == {
        (("state", "put_off"),): 0,
        (("state", "read"),): 1,
        (("state", "stopped"),): 1,
    }
    assert set(of(figures, "watertight_read_age_seconds")) == {
        (("role", "master"), ("task", task)) for task in ("NewAppointmentSync", "CancellationSync", "UpdateSync")
    }, "what was never read counts, what is stopped has an alert of its own"
    job = (("task", "NewAppointmentSync"),)
    assert 200 <= of(figures, "watertight_job_age_seconds")[job] < 300
    assert 70 <= of(figures, "watertight_slot_age_seconds")[job] < 170
    assert (of(figures, "watertight_job_period_seconds"), single["watertight_jobs_paused"]) == ({job: 60}, 1)
    assert 0 <= of(figures, "watertight_oldest_due_seconds")[(("what", "proposal"),)] < 60


def test_what_processes_have_counted_outlives_them_and_their_children(web: Web, database: str) -> None:  # noqa: ARG001
    figures = scrape(web)
    labels = (("method", "GET"), ("route", "/calendars/{calendar}/events"), ("status", "200"), ("vendor", "google"))
    assert of(figures, "watertight_vendor_requests_total") == {labels: 7}
    assert of(figures, "watertight_vendor_request_seconds_count") == {(("vendor", "google"),): 7}
    assert of(figures, "watertight_vendor_parked_seconds_total") == {(("vendor", "google"),): 30}
    assert of(figures, "watertight_vendor_turned_away_total") == {(("reason", "parked"), ("vendor", "google")): 1}
    assert of(figures, "watertight_tasks_total") == {(("state", "success"), ("task", "Commit")): 1}


def test_a_pool_s_replaced_children_leave_no_more_files_than_it_has_places(counted: Path) -> None:
    assert len(list(counted.glob("counter_*.db"))) == 2, "the worker itself, and its one place"


def test_no_label_is_personal_or_without_bound(web: Web, busy: World) -> None:  # noqa: ARG001
    names = {label for _, labels in scrape(web) for label, _ in labels}
    assert names <= {"agent", "code", "kind", "le", "method", "provider", "queue", "reason", "role", "route"} | {
        "severity", "state", "status", "task", "vendor", "what"
    }  # fmt: skip
    assert {name for name, labels in scrape(web) if "agent" in dict(labels)} == {"watertight_drift"}


def test_the_past_is_counted_once_and_nothing_twice(web: Web, busy: World, shared: Shared) -> None:
    """What is final is remembered: rows that are gone by then are still counted, new ones are added."""
    with shared.owner.begin() as connection:
        connection.execute(text("UPDATE decisions SET decided_at = decided_at - interval '1 hour'"))
        connection.execute(text("UPDATE writes SET created_at = created_at - interval '1 hour'"))
    before = sum(of(scrape(web), "watertight_decisions_total").values())
    assert sum(of(scrape(web), "watertight_decisions_total").values()) == before
    busy.decide(busy.ask(at(20)))
    assert sum(of(scrape(web), "watertight_decisions_total").values()) == before + 1


def test_from_elsewhere_only_a_token_of_its_scope_opens_it(web: Web, world: World) -> None:
    with transaction(world.app) as session:
        _, reading = create_token(session, "reader", scopes=[Scope.READ])
        _, metrics = create_token(session, "prometheus", scopes=[Scope.METRICS])
    elsewhere = {"Host": "watertight.example"}
    asked = [
        {},
        {"Authorization": f"Bearer {reading}"},
        {"Authorization": f"Bearer {metrics}"},
        {"Authorization": "Bearer x"},
    ]
    statuses = [requests.get(f"{web.url}/metrics", headers=elsewhere | one, timeout=30).status_code for one in asked]
    assert statuses == [401, 403, 200, 401]
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    assert requests.get(f"{web.url}/metrics", headers=forwarded, timeout=30).status_code == 401
    own = requests.get(f"{web.url}/api/agents", headers=elsewhere | asked[2], timeout=30)
    assert own.status_code == 403, "and it opens nothing else"


def test_a_scrape_costs_few_statements_and_none_of_them_long(busy: World, shared: Shared) -> None:
    url = shared.app.url.render_as_string(hide_password=False)
    standing = StandingCollector(
        connect(url, role="watertight_app"), lambda: app.connection_for_read("redis://127.0.0.1:1/0")
    )
    seen: list[str] = []

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    engine = standing.engine
    event.listen(engine, "before_cursor_execute", look)
    names = [family.name for family in standing.collect()]
    engine.dispose()
    assert "watertight_decisions" in names
    assert len(seen) <= 9, seen
    assert sum("statement_timeout" in statement for statement in seen) == 2, "one for each of the two transactions"
    assert busy.sql("SELECT count(*) FROM decisions") == [(3,)]


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address where somebody takes connections and never says a word, as a frozen server does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_servers_that_are_away_are_figures_and_not_errors(deaf: str, tmp_path: Path) -> None:
    """A database that hangs, and a broker where nothing listens: the answer comes, in bounded time."""
    with serve(tmp_path, database_url=f"postgresql://watertight_app@{deaf}/none") as web:
        figures = scrape(web)
    up = [figures[f"watertight_{name}_up", ()] for name in ("database", "broker")]
    assert (up, of(figures, "watertight_decisions_total")) == ([0, 0], {})


def exposed(web: Web) -> set[str]:
    """Every name that can be asked for, with what histograms are made of."""
    answer = requests.get(f"{web.url}/metrics", timeout=30).text
    families = list(text_string_to_metric_families(answer))
    return {sample.name for family in families for sample in family.samples}


def test_rules_and_dashboard_name_only_what_is_exposed(web: Web, busy: World) -> None:  # noqa: ARG001
    files = [MONITORING / "alerts.rules.yml", MONITORING / "grafana-dashboard.json", MONITORING / "alerts.test.yml"]
    for file in files:
        named = set(METRIC.findall(file.read_text(encoding="utf-8")))
        assert named, file
        assert named - exposed(web) == set(), file


def test_every_metric_is_explained(web: Web, busy: World) -> None:  # noqa: ARG001
    text_of = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    answer = requests.get(f"{web.url}/metrics", timeout=30).text
    ours = {line.split()[2] for line in answer.splitlines() if line.startswith("# TYPE watertight_")}
    assert {name for name in ours if f"`{name}`" not in text_of} == set()


def promtool(*arguments: str, told: str = "") -> str:
    if PROMTOOL is None:
        pytest.skip("no promtool on this machine (Debian: apt-get install prometheus): rules were not checked with it")
    done = subprocess.run(
        [PROMTOOL, *arguments], input=told, capture_output=True, text=True, check=False, cwd=MONITORING
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules_and_they_fire_as_meant() -> None:
    assert "SUCCESS" in promtool("check", "rules", "alerts.rules.yml")
    promtool("test", "rules", "alerts.test.yml")


def test_promtool_has_nothing_to_say_about_a_scrape(web: Web, busy: World) -> None:  # noqa: ARG001
    assert promtool("check", "metrics", told=requests.get(f"{web.url}/metrics", timeout=30).text) == ""


def test_every_rule_is_explained() -> None:
    rules = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.rules.yml").read_text(encoding="utf-8"))
    explained = re.findall(
        r"^\| `(Watertight\w+)`", (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rules == explained


def test_promtool_understands_every_panel(tmp_path: Path) -> None:
    board = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(asked)]
    (tmp_path / "panels.json").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(asked)} rules found" in promtool("check", "rules", str(tmp_path / "panels.json"))


def test_the_dashboard_is_one_that_can_be_imported() -> None:
    board = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert all(panel["title"] and panel["targets"] and panel["gridPos"]["w"] <= 24 for panel in panels)
    assert all(
        target["expr"] and target["datasource"]["uid"] == "${datasource}"
        for panel in panels
        for target in panel["targets"]
    )
