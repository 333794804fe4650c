"""The whole stack as processes: how a wish travels, and what may be seen of it on the way (P2, P12)."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest
import requests
from playwright.sync_api import expect, sync_playwright

from tests.e2e.stack import ROOT, Stack, environment, wait_for

pytestmark = pytest.mark.timeout(300)

ANYWHERE = "0.0.0.0"  # noqa: S104 - what is refused
QUEUES = {"new", "cancel", "update", "commit", "upkeep"}


def test_a_proposal_is_decided_and_shown_on_both_calendars(stack: Stack) -> None:
    start = stack.free_hour()
    number = stack.propose("Roof garden", start=start)
    wait_for(lambda: stack.is_decided(number), "decision")
    assert stack.proposal(number)["reason"] == "accepted"
    for provider in ("outlook", "google"):
        wait_for(lambda provider=provider: ("Roof garden", start) in stack.shown(provider), provider)  # type: ignore[misc]


def test_a_rival_for_the_same_time_is_refused_with_its_evidence(stack: Stack) -> None:
    start = stack.free_hour()
    first, second = (stack.propose(title, start=start) for title in ("Lake view", "Sea view"))
    wait_for(lambda: stack.is_decided(first) and stack.is_decided(second), "decisions")
    answers = sorted((stack.proposal(number) for number in (first, second)), key=lambda one: one["state"])
    assert [one["state"] for one in answers] == ["refused", "settled"]
    assert answers[0]["reason"] in {"slot_taken", "master_busy"}
    assert answers[0]["evidence"]
    told = stack.command("explain", str(answers[0]["id"]))
    assert (told.returncode, "refused" in told.stdout) == (0, True), told


def test_an_event_of_a_person_on_google_becomes_an_outlook_event(stack: Stack) -> None:
    start = stack.free_hour()
    event = stack.types("google", "Old mill", start=start)
    wait_for(lambda: ("Old mill", start) in stack.shown("outlook"), "copy on the master")
    assert stack.shown("google").count(("Old mill", start)) == 1
    stack.control("google", "events", {"action": "delete", "calendar": "dana@watertight.example", "id": event})
    wait_for(lambda: ("Old mill", start) not in stack.shown("outlook"), "cancellation on the master")


def test_flower_lists_the_five_workers_and_tasks_without_personal_data(stack: Stack) -> None:
    workers = requests.get(f"{stack.run['flower']}/api/workers", params={"refresh": 1}, timeout=60).json()
    assert {name.partition("@")[0] for name in workers} == QUEUES
    tasks = wait_for(lambda: finished(stack), "finished tasks in Flower")
    calendar = next(task for task in tasks if task["name"].endswith(".calendar"))
    assert re.fullmatch(
        r"\(\d+, '(dana|ben|asha)', '(outlook|google|hubspot|calcom) (master|mirror|source)'\)", calendar["args"]
    )
    assert re.fullmatch(r"'.{3,100}'", calendar["result"])
    assert not [word for word in stack.private if word in json.dumps(tasks)]


def finished(stack: Stack) -> list[dict[str, Any]]:
    found = requests.get(f"{stack.run['flower']}/api/tasks", params={"limit": 2000}, timeout=60).json()
    tasks = [task for task in found.values() if task["state"] == "SUCCESS"]
    names = {task["name"] for task in tasks}
    return tasks if {"NewAppointmentSync.calendar", "Commit", "ResumeCommits"} <= names else []


def test_flower_reads_like_a_sentence_in_a_browser(stack: Stack) -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium): Flower was not looked at")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{stack.run['flower']}/tasks")
        table = page.locator("#tasks-table")
        expect(table.get_by_text(re.compile(r"^(dana|ben|asha), (outlook|google|hubspot|calcom) \w+ \(calendar \d+\)$")).first).to_be_visible(timeout=30_000)  # fmt: skip
        page.locator("input[type=search]").fill("args:proposal")
        expect(table.get_by_text(re.compile(r"^(proposal|write) \d+, ")).first).to_be_visible(timeout=30_000)
        expect(table.get_by_text(re.compile(r"^accepted|^refused: |^copied")).first).to_be_visible(timeout=30_000)
        shown = table.inner_text()
        browser.close()
    assert [word for word in stack.private if word in shown] == []


def test_one_scrape_shows_what_every_process_did(stack: Stack) -> None:
    """Jobs on threads, commits in a pool of processes, beat: all of it at the web process."""

    def scrape() -> str:
        return requests.get(f"{stack.run['web']}/metrics", timeout=30).text

    counted = [
        'watertight_tasks_total{state="success",task="Commit"}',
        'watertight_tasks_total{state="success",task="NewAppointmentSync.calendar"}',
        'watertight_tasks_total{state="success",task="ResumeCommits"}',
        'watertight_vendor_requests_total{method="GET",route="/users/{user}/calendarView",status="200",vendor="outlook"}',
        'watertight_decisions_total{kind="book",reason="accepted"}',
        'watertight_reflect_seconds_count{provider="google"}',
        'watertight_job_age_seconds{task="UpdateSync"}',
    ]
    wait_for(lambda: all(name in scrape() for name in counted), "every figure")
    text = scrape()
    assert "watertight_database_up 1.0" in text
    assert "flower_" not in text, "Flower's own figures are not ours"
    assert [word for word in stack.private if word in text] == []


def test_a_message_carries_ids_only(stack: Stack) -> None:
    with stack.frozen("commit"):
        start = stack.free_hour()
        numbers = [stack.propose(f"Secret cellar {number}", start=start) for number in range(3)]
        with stack.broker() as broker:
            messages = wait_for(lambda: broker.lrange("commit", 0, -1), "message in the queue")
    for message in map(json.loads, messages):
        arguments, _, _ = json.loads(base64.b64decode(message["body"]))
        assert re.fullmatch(r"(proposal|write):\d+", arguments[0])
        assert not [word for word in stack.private if word in json.dumps(message)]
    wait_for(lambda: all(map(stack.is_decided, numbers)), "decisions of what waited in the queue")


def test_every_queue_has_its_own_messages(stack: Stack) -> None:
    with stack.broker() as broker:
        bindings = {name: broker.smembers(f"_kombu.binding.{name}") for name in QUEUES}
    assert {name: len(found) for name, found in bindings.items()} == dict.fromkeys(QUEUES, 1)


def test_the_list_of_calendars_shows_how_fresh_each_job_is(stack: Stack) -> None:
    answer = stack.command("calendars", "list", "--json")
    rows = json.loads(answer.stdout)
    assert {(row["agent"], row["provider"], row["role"]) for row in rows} >= {("asha", "google", "mirror")}
    assert [
        row for row in rows if {datetime.fromisoformat(at).tzinfo for at in row["read_at"].values()} == {None}
    ] == []
    assert {job for row in rows for job in row["read_at"]} == {"new", "cancel", "update"}


def test_a_job_can_be_run_by_hand_beside_the_stack(stack: Stack) -> None:
    answer = stack.command("sync", "UpdateSync", "--dry-run", "--json")
    assert answer.returncode == 0, answer
    assert {row["result"] for row in json.loads(answer.stdout)} == {"would propose 0"}


def test_celery_works_as_any_celery_user_expects(stack: Stack) -> None:
    report = stack.command("-A", "workers.app", "report", program="celery")
    assert (report.returncode, "transport:redis" in report.stdout) == (0, True), report
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-Q", "upkeep", "-n", "extra@%h"]
    extra = subprocess.Popen(
        [*command, "-P", "threads", "-c", "1", "--without-mingle"], cwd=ROOT, env=environment(stack.state_dir), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip
    try:
        wait_for((stack.state_dir / "heartbeats" / "extra").exists, "heartbeat of a worker started by hand")
        everybody = ",".join(f"{name}@{socket.gethostname()}" for name in [*QUEUES, "extra"])  # it waits for these only
        ping = stack.command(
            "-A", "workers.app", "inspect", "ping", "--timeout", "30", "-d", everybody, "-j", program="celery"
        )
        assert {name.partition("@")[0] for name in json.loads(ping.stdout)} == {*QUEUES, "extra"}, ping
    finally:
        extra.terminate()
        assert extra.wait(60) == 0
