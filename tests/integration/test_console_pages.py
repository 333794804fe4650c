"""What the console shows of real rows, and what its buttons do and keep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import select, update

from models.agents import Agent
from models.audits import Audit
from models.feeds import Sighting
from models.session import transaction
from models.weeks import find_week
from sync.actions import Actor, record_action
from sync.audits import Auditor
from sync.domain import Interval, Job
from sync.errors import CredentialRevoked, MassChange, ProviderUnavailable
from sync.failures import open_alert, record_dead_letter
from sync.schedule import list_jobs, pause
from sync.users import Role
from tests.conftest import Shared
from tests.integration.console import UNWATCHED, Viewer, fields_of, open_console, signed_in
from tests.integration.served import Web, serve
from tests.integration.world import World, at
from workers.scheduler import install_defaults
from workers.settings import Settings
from workers.web.console.week import Lane, Week, list_marks, monday_of, place

SECRET = "Secret cellar"


@pytest.fixture(scope="module")
def web(shared: Shared, broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with open_console(shared, broker, tmp_path_factory.mktemp("console")) as served:
        yield served


@pytest.fixture
def operator(web: Web, world: World) -> Viewer:
    install_defaults(world.app, Settings())
    return signed_in(world.app, web)


@pytest.fixture
def viewer(web: Web, world: World) -> Viewer:
    return signed_in(world.app, web, Role.VIEWER)


def words(page: str) -> str:
    """What a person reads on a page, the picture's titles included."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def did(world: World) -> list[tuple[str, str, str, str]]:
    return world.sql("SELECT who, via, what, about FROM actions WHERE what NOT LIKE 'users.%' ORDER BY id")


def address_of_the_week(interval: Interval, *, zone: str = "UTC") -> str:
    return f"/agents/dana?week={interval.start.date()}&zone={zone}"


def lines(page: str) -> list[str]:
    """The rows of all tables of a page, as text."""
    return [words(row).strip() for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)]


def test_the_first_page_tells_at_a_glance(operator: Viewer, world: World, broker: str) -> None:
    world.book(at(9), SECRET)
    refused = world.ask(at(9))
    world.decide(refused)
    world.ask(at(12))
    with transaction(world.app) as session:
        open_alert(session, "stopped:1", code="credential_revoked", detail={"calendar": 1})
        for number in range(3):
            open_alert(session, f"new:{number}", code="provider_unavailable", detail={})
        record_dead_letter(session, "Commit", reference="proposal:9", error=ProviderUnavailable("503"), attempts=5)
    with redis.Redis.from_url(broker) as client:
        client.rpush("upkeep", "{}", "{}")
        shown = words(operator.get("").text)
        client.delete("upkeep")
    assert "1 critical alert: look at these first" in shown
    assert shown.index("credential_revoked") < shown.index("provider_unavailable (3)")
    assert [
        word
        for word in ("accepted 1", "slot_taken 1", "half within", "upkeep 2", "1 proposals undecided")
        if word not in shown
    ] == []
    assert ("1 provider_unavailable" in shown, "dana" in shown, SECRET in shown) == (True, True, False)


def test_nothing_wrong_says_so(operator: Viewer, world: World) -> None:
    world.detect_all()
    assert "All is well" in words(operator.get("").text)
    world.sql("UPDATE calendars SET stopped_code = 'mass_change' WHERE role = 'master'")
    shown = words(operator.get("").text)
    assert ("All is well" in shown, "1 stopped" in shown) == (False, True)


def test_a_broker_that_is_away_is_said_and_nothing_else_is_missing(
    shared: Shared, world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = shared.app.url.render_as_string(hide_password=False)
    with serve(tmp_path_factory.mktemp("alone"), database_url=url, **UNWATCHED) as alone:
        shown = words(signed_in(world.app, alone).get("").text)
    assert ("The broker is away" in shown, "dana" in shown) == (True, True)


def test_a_week_shows_slots_and_every_calendar_without_titles(operator: Viewer, world: World) -> None:
    booked = at(9)
    world.book(booked, SECRET)
    proposal = world.proposals()[0].id
    world.master.put(at(11), SECRET)
    world.detect_all()
    page = operator.get(address_of_the_week(booked)).text
    shown = words(page)
    for lane, says in (
        ("slots", f"slot 1 booked for proposal {proposal} from api"),
        ("memory master", f"booked, proposal {proposal} from api"),
        ("memory mirror", f"booked, proposal {proposal} from api"),
    ):
        assert f"{lane}: {says}" in shown
    assert f'href="/console/proposals/{proposal}"' in page
    assert (SECRET in page, "What is wrong" in shown) == (False, False)
    assert SECRET not in operator.get(f"/proposals/{proposal}").text


def test_a_conflict_and_drift_are_marked(operator: Viewer, world: World) -> None:
    world.book(at(9), SECRET)
    world.book(at(13), SECRET)
    world.master.put(at(9.5), SECRET)
    world.detect(Job.NEW, "dana-master")
    world.sql("UPDATE remote_links SET gone = true WHERE calendar_id = :mirror", mirror=world.ids["dana-mirror"])
    with transaction(world.app) as session:
        session.execute(update(Sighting).where(Sighting.calendar_id == world.ids["dana-mirror"]).values(deleted=True))
    page = operator.get(address_of_the_week(at(9))).text
    shown = words(page)
    assert ("1 conflict: overlaps a slot" in shown, "2 drift" in shown) == (True, True)
    wrong = [line for line in lines(page.partition("All ")[0]) if "memory" in line]
    assert ["overlaps slot 1" in line for line in wrong].count(True) == 1
    assert ["is missing here" in line for line in wrong].count(True) == 2


def test_what_people_put_over_a_booking_by_hand_stays_a_conflict(operator: Viewer, world: World) -> None:
    """It is an appointment of its own by then, and nobody takes it off."""
    world.book(at(9))
    world.master.put(at(9.5), SECRET)
    world.quiesce()
    shown = words(operator.get(address_of_the_week(at(9))).text)
    assert ("1 conflict: overlaps" in shown, "put there by hand, overlaps slot 1" in shown) == (True, True)


def test_a_week_is_drawn_in_the_zone_that_was_asked_for(operator: Viewer, world: World) -> None:
    """Half past midnight UTC is the evening before in Chicago."""
    booked = at(24.5)
    world.book(booked)
    utc, chicago = Week(monday_of(booked.start.date()), UTC), operator.get(address_of_the_week(booked, zone="agent"))
    with transaction(world.app) as session:
        record = find_week(session, "dana", start=utc.start, end=utc.end)
    lanes = [Lane(0, "slots", "ledger")]
    [box] = place(list_marks(record, lanes), utc, lanes)
    assert (box.day, box.top, box.height) == (booked.start.weekday(), 30, 60)
    assert "America/Chicago" in words(chicago.text)
    assert operator.get(address_of_the_week(booked, zone="Asia/Kathmandu")).status_code == 200
    for nonsense in (
        "/agents/dana?week=never&zone=Mars",
        "/agents/dana?week=9999-12-31",
        "/agents/dana?zone=../etc/passwd",
    ):
        assert operator.get(nonsense).status_code == 200


def test_a_proposal_tells_its_story(viewer: Viewer, world: World) -> None:
    world.book(at(9), SECRET)
    refused = world.ask(at(9.5), SECRET)
    world.decide(refused)
    first = words(viewer.get(f"/proposals/{world.proposals()[0].id}").text)
    assert [word for word in ("Accepted", "memory master", "create", "slot 1", "read at") if word not in first] == []
    second = viewer.get(f"/proposals/{refused}").text
    assert [word for word in ("Refused: slot_taken", "somebody else has this time") if word not in words(second)] == []
    assert SECRET not in first + second
    found = viewer.get(f"/find?q=%23{refused}")
    assert (found.status_code, found.headers["Location"]) == (303, f"/console/proposals/{refused}")
    assert viewer.get("/find?q=dana").headers["Location"] == "/console/agents/dana"


@pytest.mark.parametrize(
    "path",
    [
        "/proposals/999",
        "/proposals/0",
        "/proposals/x",
        "/proposals/99999999999999999999",
        "/agents/nobody",
        "/agents/No%20Body",
        "/failures/7",
        "/nowhere",
        "/find?q=..%2Fbook",
        "/alerts?code=%3Cb%3E",
        "/actions?before=x",
    ],
)
def test_what_is_not_there_is_a_page_too(viewer: Viewer, path: str) -> None:
    answer = viewer.get(path)
    if answer.status_code == 303:
        answer = viewer.get(answer.headers["Location"].removeprefix("/console"))
    assert (answer.status_code, "There is nothing here" in answer.text) == (404, True)


def test_a_stopped_calendar_is_released_by_an_operator(operator: Viewer, viewer: Viewer, world: World) -> None:
    master = world.ids["dana-master"]
    world.sql("UPDATE calendars SET stopped_code = 'mass_change' WHERE id = :id", id=master)
    assert ("mass_change" in (seen := viewer.get("/agents/dana").text), "/release" in seen) == (True, False)
    assert "really gone" in operator.get("/agents/dana").text
    answer = operator.press("/agents/dana", "/agents/dana/release")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/agents/dana?done=released")
    assert world.sql("SELECT stopped_code FROM calendars WHERE id = :id", id=master) == [(None,)]
    assert did(world) == [(operator.name, "console", "calendars.release", f"calendar:{master}")]
    form = fields_of(operator.get("/agents/dana").text, "/sign-out")
    for other in ("999", "x", ""):
        assert operator.post("/agents/dana/release", data=form | {"calendar": other}).status_code == 404
    assert len(did(world)) == 1


def test_a_job_is_paused_resumed_and_given_another_period(operator: Viewer, world: World) -> None:
    def update() -> tuple[float, bool]:
        with transaction(world.app) as session:
            return next((job.every, job.enabled) for job in list_jobs(session) if job.name == "UpdateSync")

    paused = operator.press("/schedule", "/schedule/UpdateSync/pause")
    assert (paused.headers["Location"], update()[1]) == ("/console/schedule?done=paused", False)
    assert "Nothing of it runs until" in operator.get("/schedule?done=paused").text
    assert "UpdateSync" in words(operator.get("").text)
    operator.press("/schedule", "/schedule/UpdateSync/resume")
    operator.press("/schedule", "/schedule/UpdateSync/period", every="5m")
    assert update() == (300.0, True)
    said = [(who, via, what) for who, via, what, _ in did(world)]
    assert said == [(operator.name, "console", f"schedule.{what}") for what in ("pause", "resume", "set")]
    assert "every 600 → 300" in words(operator.get("/schedule").text)
    assert f"{operator.name} console" in words(operator.get("/actions").text)


@pytest.mark.parametrize("typed", ["", "soon", "-5", "0", "2d", "99h", "1e3", "5 m m"])
def test_a_period_that_cannot_be_is_refused_in_words(operator: Viewer, world: World, typed: str) -> None:
    answer = operator.press("/schedule", "/schedule/UpdateSync/period", every=typed)
    assert (answer.status_code, "every:" in answer.text, did(world)) == (422, True, [])


def test_dead_letters_are_replayed_after_it_was_said_what_that_does(operator: Viewer, world: World) -> None:
    waiting, master = world.ask(at(9)), world.ids["dana-master"]
    with transaction(world.app) as session:
        error = ProviderUnavailable("answered 503")
        record_dead_letter(session, "Commit", reference=f"proposal:{waiting}", error=error, attempts=5)
        record_dead_letter(session, "UpdateSync.calendar", reference=str(master), error=error, attempts=5)
        record_dead_letter(session, "Commit", reference="write:9", error=CredentialRevoked("no"), attempts=1)
    shown = words(operator.get("/failures").text)
    assert [
        word for word in ("2 provider_unavailable", "1 credential_revoked", "answered 503") if word not in shown
    ] == []
    plan = operator.get("/failures/replay?code=provider_unavailable").text
    assert (f"work on proposal {waiting} at once" in plan, f"read calendar {master} at once" in plan) == (True, True)
    assert "work on write 9" not in plan
    form = fields_of(plan, "/failures/replay")
    with transaction(world.app) as session:  # one that came after the plan was read
        record_dead_letter(session, "Commit", reference="write:10", error=error, attempts=5)
    done = [words(operator.post("/failures/replay", data=form).text) for _ in range(2)]
    assert ("Replayed 2 of 2" in done[0], "None of them was open any more" in done[1]) == (True, True)
    assert [row[2] for row in did(world)] == ["failures.replay"] * 2
    left = world.sql("SELECT reference FROM dead_letters WHERE state = 'open' ORDER BY id")
    assert left == [("write:9",), ("write:10",)]
    one = operator.get("/failures/1").text
    assert (f"Replayed by {operator.name}" in words(one), "Replay…" in words(one)) == (True, False)
    assert "replayed" in words(operator.get("/failures?closed=1").text)


def test_what_a_replay_cannot_do_is_said(operator: Viewer, world: World) -> None:
    """Whether events are really gone is another question than whether to try again."""
    master = world.ids["dana-master"]
    world.sql("UPDATE calendars SET stopped_code = 'mass_change' WHERE id = :id", id=master)
    with transaction(world.app) as session:
        error = MassChange("5 of 6 gone")
        record_dead_letter(session, "NewAppointmentSync.calendar", reference=str(master), error=error, attempts=1)
    answer = operator.post(
        "/failures/replay", data=fields_of(operator.get("/failures/replay").text, "/failures/replay")
    )
    assert f"watertight calendars release {master}" in answer.text


def test_alerts_are_grouped_and_critical_ones_come_first(viewer: Viewer, world: World) -> None:
    with transaction(world.app) as session:
        for number in range(3):
            open_alert(session, f"new:{number}", code="provider_unavailable", detail={"calendar": number})
        open_alert(session, "bypass", code="master_check_bypassed", detail={"process": "web"})
    rows = lines(viewer.get("/alerts").text)
    assert ["critical master_check_bypassed 1" in rows[1], "warning provider_unavailable 3" in rows[2]] == [True, True]
    only = words(viewer.get("/alerts?code=provider_unavailable").text)
    assert ("calendar 2" in only, "process web" in only) == (True, False)


def test_drift_shows_the_newest_comparison_of_each_agent(viewer: Viewer, world: World) -> None:
    world.add_agent("ben")
    found: list[dict[str, object]] = [{"kind": "odd", "calendar": 2, "title": "Secret"}]
    times = {"start": at(9).start.isoformat(), "end": at(9).end.isoformat()}
    found.append({"what": "missing", "calendar": 2, **times, "appointments": [7], "confirmed": False})
    with transaction(world.app) as session:
        agent = session.scalars(select(Agent.id).where(Agent.slug == "dana")).one()
        session.add(Audit(agent_id=agent, state="clean", requests=4, audited_at=datetime.now(UTC) - timedelta(hours=2)))
        session.add(Audit(agent_id=agent, state="drift", drift=1, findings=found, requests=4))
    shown = words(viewer.get("/drift").text)
    assert (
        "1 differ" in shown,
        f"missing on calendar 2, {at(9).start:%Y-%m-%d %H:%M}Z" in shown,
        "never compared" in shown,
    ) == (True, True, True)
    assert ("clean" in shown, "Secret" in shown) == (False, False)
    assert "1 of 2 agents differ" in words(viewer.get("").text)


def audited(world: World, *hours: float) -> int:
    """The mirror has lost what was booked at these hours, no list of changes told so, and an audit has found it."""
    for hour in hours:
        world.book(at(hour), SECRET)
    world.quiesce()
    mirror = world.mirror
    for name, row in list(mirror.rows.items()):
        mirror.remove(row.state.remote_id)
        mirror.rows[name].seq = 1  # before every cursor that was handed out
    looking = Auditor(world.app, world.calendars, reach=timedelta(days=30), confirm=timedelta(0))
    return looking.audit(1).id


def test_an_operator_has_drift_repaired_and_it_is_kept_who_it_was(operator: Viewer, world: World) -> None:
    number = audited(world, 9)
    assert "Repair 1" in words(operator.get("/drift").text)
    for _ in range(2):
        fields = {"token": fields_of(operator.get("/schedule").text, "/schedule/Prune/pause")["token"], "at_most": ""}
        answer = operator.post(f"/drift/{number}/repair", data=fields)
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (303, "/console/drift")
    repairs = world.sql("SELECT about, after ->> 'repairs' FROM actions WHERE what = 'audit.repair' ORDER BY id")
    assert repairs == [("dana", "1"), ("dana", "0")]  # twice is once
    assert f"1 repairs asked for by {operator.name} (console)" in words(operator.get("/drift").text)
    world.quiesce()
    assert [event.interval for event in world.mirror.events()] == [at(9)]


def test_the_brake_holds_until_somebody_says_how_many(operator: Viewer, world: World) -> None:
    number = audited(world, *range(9, 16))
    braked = operator.press("/drift", f"/drift/{number}/repair", at_most="")
    assert (braked.status_code, "7 differences at 7 appointments" in words(braked.text)) == (409, True)
    assert world.sql("SELECT repairs FROM audits WHERE id = :id", id=number) == [(0,)]
    assert operator.press("/drift", f"/drift/{number}/repair", at_most="many").status_code == 422
    assert operator.press("/drift", f"/drift/{number}/repair", at_most="2").status_code == 303
    assert world.sql("SELECT repairs FROM audits WHERE id = :id", id=number) == [(2,)]


def test_viewers_and_pages_of_yesterday_repair_nothing(operator: Viewer, viewer: Viewer, world: World) -> None:
    number = audited(world, 9)
    assert "/repair" not in viewer.get("/drift").text
    fields = fields_of(operator.get("/drift").text, f"/drift/{number}/repair")
    assert viewer.post(f"/drift/{number}/repair", data=fields).status_code == 403
    assert operator.post(f"/drift/{number}/repair", data=fields | {"token": "forged"}).status_code == 403
    assert audited(world) > number
    assert operator.post(f"/drift/{number}/repair", data=fields).status_code == 422
    assert operator.post("/drift/9999/repair", data=fields).status_code == 404
    assert world.sql("SELECT count(*) FROM actions WHERE what = 'audit.repair'") == [(0,)]


def test_actions_tell_who_did_what_page_by_page(viewer: Viewer, world: World) -> None:
    install_defaults(world.app, Settings())
    with transaction(world.app) as session:
        pause(session, "UpdateSync", by=Actor("nightshift", "cli"))
        session.flush()
        for number in range(110):
            record_action(session, Actor("bulk", "cli"), "x.y", about=str(number))
    first = viewer.get("/actions").text
    older = re.search(r'href="/console(/actions\?before=\d+)"', first)
    assert (older is not None, "nightshift" in first) == (True, False)
    assert "enabled yes → no" in words(viewer.get(older[1] if older else "").text)


def test_instants_are_utc_for_the_browser_to_show(viewer: Viewer, world: World) -> None:
    assert world
    times = re.findall(r'<time[^>]*datetime="([^"]+)"', viewer.get("").text)
    assert times
    now = datetime.now(UTC)
    assert abs(datetime.fromisoformat(times[0]) - now) < timedelta(minutes=5)
    assert all(time.endswith("Z") for time in times)
