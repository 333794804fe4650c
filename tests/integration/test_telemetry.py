"""What a web process and a worker send and write about themselves: traces, errors, check-ins, logs, their own metrics."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from providers.emulated_faults import Fault
from providers.emulation import Emulator, HumanAction, HumanEvent, build_app
from providers.google.emulator import GoogleEmulator
from providers.outlook.emulator import OutlookEmulator
from tests.fixtures.google.serving import service_account, serving
from tests.integration.collector import Collector, Seen, collecting
from tests.integration.pushing import KEY
from tests.integration.served import ROOT, Web, migrated, serve
from workers.embedded import EmbeddedPostgres, EmbeddedValkey
from workers.settings import Settings, with_emulators
from workers.wiring import build

DANA = "dana@example.com"
MASTER, MIRROR, BROKEN = 1, 2, 3
TITLE = "Secret cellar"
ROWS = """
    INSERT INTO calendars (id, agent_id, provider, remote, role)
    SELECT row.id, agents.id, row.provider, row.remote, row.role FROM agents, (VALUES
        (1, 'outlook', 'dana@example.com', 'master'), (2, 'google', 'dana@example.com', 'mirror'),
        (3, 'google', 'nobody@example.com', 'source')
    ) AS row (id, provider, remote, role)
"""
JOBS = (
    "INSERT INTO beat_jobs (name, task, every_seconds, next_slot) VALUES ('ResumeCommits', 'ResumeCommits', 90, now())"
)
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)


@dataclass
class Watched:
    """A web process and a worker for every queue, with real vendors' emulators; and who is told about them."""

    web: Web
    worker_log: Path
    metrics: str
    collector: Collector
    outlook: OutlookEmulator
    google: GoogleEmulator
    broker_url: str

    def send(self, task: str, *args: object) -> None:
        """As beat does."""
        from workers.app import app  # noqa: PLC0415 - the address of the broker comes with the call

        with app.connection_for_write(self.broker_url) as connection:
            app.send_task(task, args=list(args), connection=connection)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.worker_log.read_text().splitlines() if line.startswith("{")]


def wait_for(look: Callable[[], Any], what: str, *, seconds: float = 60) -> Any:  # noqa: ANN401 - whatever was looked for
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"after {seconds} s still no {what}"
        time.sleep(0.05)
    return found


@contextmanager
def working(folder: Path, env: dict[str, str]) -> Iterator[Path]:
    """A Celery worker for all queues; the answer is its log."""
    log = folder / "worker.log"
    options = ("-Q", "new,cancel,update,commit,upkeep", "-n", "all@%h", "-P", "threads", "-c", "3", "--without-mingle")
    command = (sys.executable, "-m", "celery", "-A", "workers.app", "worker", "--include", "workers.commit", *options)
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | env, stdout=out, stderr=out)
    try:
        wait_for((folder / "heartbeats" / "all").exists, "heartbeat")
        yield log
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def watched(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    outlook, google = OutlookEmulator(), GoogleEmulator()
    (folder / "google-service-account.json").write_text(json.dumps(service_account()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with ExitStack() as stack:
        urls: dict[str, Emulator] = {"outlook": outlook, "google": google}
        at = {name: stack.enter_context(serving(build_app(one))) for name, one in urls.items()}
        collector = stack.enter_context(collecting())
        valkey = stack.enter_context(EmbeddedValkey(tmp_path_factory.mktemp("valkey")))
        database = stack.enter_context(migrated(postgres, "watched"))
        commit = database.replace("watertight_app", "watertight_commit")
        told = {
            "WEBHOOK_KEY": KEY,
            "OTLP_ENDPOINT": collector.url,
            "SENTRY_DSN": f"{collector.url.replace('//', '//key@')}/1",
            "BROKER_URL": valkey.url(),
        }
        env = {f"WATERTIGHT_{name}": value for name, value in told.items()} | {"OTEL_BSP_SCHEDULE_DELAY": "200"}
        web = stack.enter_context(serve(folder, database_url=database, **env))
        engine = create_engine(postgres.url().replace("/watertight?", "/watched?"), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(ROWS))
            connection.execute(text(JOBS))
        run = {"web": web.url, "database_url": database, "commit_database_url": commit, "broker_url": valkey.url()}
        (folder / "run.json").write_text(json.dumps(run | {"emulators": at}))
        settings = Settings.model_validate(
            {"state_dir": folder, "database_url": database, "public_url": web.url, "webhook_key": KEY}
        )
        runtime = build(with_emulators(settings, at))
        assert runtime.channels().keep_all(seconds=60).done >= 2
        runtime.sessions.kw["bind"].dispose()
        own = {"STATE_DIR": str(folder), "METRICS_PORT": str(port), "PUBLIC_URL": web.url, "LOG_LEVEL": "DEBUG"}
        log = stack.enter_context(working(folder, env | {f"WATERTIGHT_{name}": value for name, value in own.items()}))
        yield Watched(web, log, f"http://127.0.0.1:{port}/metrics", collector, outlook, google, valkey.url())


def book(emulator: OutlookEmulator | GoogleEmulator, *, hour: int) -> None:
    """Somebody writes an event into a vendor's own window; the vendor pushes."""
    start = START + timedelta(hours=hour)
    event = HumanEvent(start=start, end=start + timedelta(minutes=30), title=TITLE)
    emulator.act(HumanAction(action="create", calendar=DANA, event=event))


def trace_with(watched: Watched, root: str, *names: str) -> list[Seen]:
    """The spans of the trace that begins with ``root`` and has all of ``names``; empty while there is none."""
    spans = watched.collector.spans()
    for trace in {span.trace for span in spans if span.name == root and not span.parent}:
        found = [span for span in spans if span.trace == trace]
        if {span.name for span in found} >= set(names):
            return found
    return []


@pytest.mark.parametrize(
    ("vendor", "hour", "written"),
    [("outlook", 1, "POST /calendars/{calendar}/events"), ("google", 2, "POST /users/{user}/events")],
)
def test_one_trace_leads_from_a_push_through_job_and_commit_to_the_write(
    watched: Watched, vendor: str, hour: int, written: str
) -> None:
    book(getattr(watched, vendor), hour=hour)
    wanted = f"POST /webhooks/{vendor}", "run/NewAppointmentSync.calendar", "run/Commit", written, "db INSERT"

    def led() -> list[Seen]:
        """From the write up to the push; a span is sent when it has ended, so those above it come later."""
        found = {span.span: span for span in trace_with(watched, wanted[0], *wanted)}
        above = [span for span in found.values() if span.name == written][:1]
        while above and above[-1].parent in found:
            above.append(found[above[-1].parent])
        return above if above and not above[-1].parent else []

    above = wait_for(led, f"trace from {vendor} to {written}")
    spans, writing = trace_with(watched, wanted[0], *wanted), above[0]
    names = [span.name for span in reversed(above)]
    assert names[:3] == list(wanted[:3])
    assert (set(names[3:-1]), names[-1]) == ({"run/Commit"} if vendor == "outlook" else set(), written)
    commits = [span.attributes for span in spans if span.name == "run/Commit"]
    assert any("watertight.proposal_id" in told for told in commits), commits
    assert writing.attributes["watertight.vendor"] == {"outlook": "google", "google": "outlook"}[vendor]


def test_nothing_that_is_sent_says_who_or_what(watched: Watched) -> None:
    book(watched.google, hour=3)
    wait_for(lambda: trace_with(watched, "POST /webhooks/google", "POST /users/{user}/events"), "trace")
    sent = b"".join(body for _, body in watched.collector.bodies)
    assert [word for word in (TITLE, "Secret", DANA, "example.com", "wt_", "127.0.0.1") if word.encode() in sent] == []


def test_a_run_that_gives_up_is_an_event_of_type_and_place(watched: Watched) -> None:
    watched.google.faults.arm(Fault(kind="forbidden", calendar="nobody@example.com", times=None))
    watched.send("NewAppointmentSync.calendar", BROKEN)
    events = wait_for(
        lambda: [one for one in watched.collector.envelopes() if one["type"] == "event"], "event of the failure"
    )
    assert events[0]["tags"] == {"task": "NewAppointmentSync.calendar", "code": "forbidden"}
    (error,) = events[0]["exception"]["values"][-1:]
    assert (error["type"], "value" in error) == ("Forbidden", False)
    frames = error["stacktrace"]["frames"]
    assert frames[-1]["module"].startswith("providers.")
    assert {name for frame in frames for name in frame} <= {"filename", "function", "module", "lineno", "in_app"}


def test_a_job_of_beat_checks_in_with_its_period(watched: Watched) -> None:
    watched.send("ResumeCommits")
    checks = wait_for(lambda: [one for one in watched.collector.envelopes() if one["type"] == "check_in"], "check-in")
    assert {(one["monitor_slug"], one["status"]) for one in checks} == {("resumecommits", "ok")}
    assert checks[0]["monitor_config"]["schedule"] == {"type": "interval", "value": 2, "unit": "minute"}


def test_lines_of_the_log_say_which_run_they_belong_to(watched: Watched) -> None:
    book(watched.google, hour=4)
    watched.send("NewAppointmentSync.calendar", BROKEN)
    lines = wait_for(lambda: _logged(watched, "vendor.answer", "task.failed"), "lines of both")
    told = [line for line in lines if line["event"] == "vendor.answer"]
    deciding = [line for line in told if line.get("task") == "Commit" and "proposal_id" in line]
    assert deciding
    assert all(line["reference"] == f"proposal:{line['proposal_id']}" and line["task_id"] for line in deciding)
    reading = [line for line in told if line.get("job") == "NewAppointmentSync"]
    assert {line["calendar_id"] for line in reading} >= {MIRROR}
    after = [line for line in lines if line["event"] == "task.failed"]
    assert all("job" not in line for line in after), "what was bound is gone with the run"
    assert [word for word in (TITLE, DANA) if word in watched.worker_log.read_text()] == []


def _logged(watched: Watched, *events: str) -> list[dict[str, Any]]:
    lines = watched.lines()
    deciding = any("proposal_id" in line for line in lines)
    return lines if deciding and {line["event"] for line in lines} >= set(events) else []


def test_a_worker_that_stands_alone_serves_what_it_counts(watched: Watched) -> None:
    watched.send("ResumeCommits")

    def shown() -> str:
        text_of = requests.get(watched.metrics, timeout=10).text
        return text_of if 'watertight_tasks_total{state="success",task="ResumeCommits"}' in text_of else ""

    assert "watertight_vendor_requests_total{" in wait_for(shown, "count of the run")


LOADED = """
import sys
from workers import telemetry
from workers.settings import Settings
for name in {missing!r}:
    sys.modules[name] = None  # as if it were not there
telemetry.start(Settings.model_validate({told!r}))
optional = ("workers.tracing", "workers.sentry", "sentry_sdk", "opentelemetry.instrumentation")
print([name for name in sys.modules if name.startswith(optional) and sys.modules[name] is not None])
"""


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({}, ()),
        (
            {"otlp_endpoint": "http://127.0.0.1:1", "sentry_dsn": "http://k@127.0.0.1:1/1"},
            ("opentelemetry.sdk.trace", "sentry_sdk"),
        ),
    ],
)
def test_what_is_not_set_or_not_installed_is_not_loaded(told: dict[str, str], missing: tuple[str, ...]) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("WATERTIGHT_", "OTEL_"))}
    program = LOADED.format(told=told, missing=missing)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["[]"]), done.stderr
    assert [
        word for word in ("tracing.not_installed", "sentry.not_installed") if word not in done.stdout + done.stderr
    ] == ([] if missing else ["tracing.not_installed", "sentry.not_installed"])
