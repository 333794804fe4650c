"""The limits of the fleet (P10): several processes, a real Valkey, and the vendors' emulators as judges."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import requests
import structlog

from providers.emulated_faults import Fault
from providers.emulation import build_app
from providers.gates import Gate, NoRoom
from providers.google.client import GoogleCredentials
from providers.google.emulator import GoogleEmulator
from providers.limits import PREFIX, FleetLimits
from providers.registry import Credentials, Registry, connect
from providers.rules import Limit, Per, Rules
from sync.errors import RateLimited
from tests.contract.outlook_world import WINDOW, served
from tests.fixtures.google.serving import calendar_ref, service_account, serving
from tests.integration.limited_process import RULES
from workers.embedded import EmbeddedPostgres, EmbeddedValkey
from workers.limit_settings import LimitSettings
from workers.settings import load
from workers.wiring import build, build_committing

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def valkey(server: EmbeddedValkey) -> EmbeddedValkey:
    with redis.Redis.from_url(server.url()) as client:
        client.flushall()
    return server


def process(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.integration.limited_process", *(str(word) for word in words)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def answers(*running: subprocess.Popen[str]) -> list[Any]:
    said = [one.communicate(timeout=90)[0] for one in running]
    assert [one.returncode for one in running] == [0] * len(running)
    return [json.loads(text.splitlines()[-1]) for text in said]  # the log is on the lines before


def acme(url: str, *, patience: float = 0.0, rules: Rules = RULES, account: str = "dana") -> Gate:
    return FleetLimits(url, rules=rules, patience=patience).gate("acme", app="app", account=account)


def goes_in(gate: Gate, *, route: str = "/x") -> bool:
    try:
        with gate.enter(route=route):
            return True
    except NoRoom:
        return False


# Rates


def test_two_processes_share_a_rate(valkey: EmbeddedValkey) -> None:
    entered = answers(*(process("spend", valkey.url(), 40) for _ in range(2)))
    assert sum(entered) == 30
    assert not goes_in(acme(valkey.url()))
    assert goes_in(acme(valkey.url(), account="ben"))


def test_the_refusal_says_when_there_is_room_and_then_there_is(valkey: EmbeddedValkey) -> None:
    gate = acme(valkey.url(), rules=Rules({"acme": (Limit(Per.ACCOUNT, 3, 2),)}))
    for _ in range(3):
        assert goes_in(gate)
    with pytest.raises(NoRoom) as caught, gate.enter(route="/x"):
        pass
    assert caught.value.retry_after is not None
    assert 2 < caught.value.retry_after <= 3
    time.sleep(caught.value.retry_after)
    assert goes_in(gate)


def test_a_short_wait_is_waited_for(valkey: EmbeddedValkey) -> None:
    gate = acme(valkey.url(), patience=2.5, rules=Rules({"acme": (Limit(Per.ACCOUNT, 1, 1),)}))
    assert goes_in(gate)
    started = time.monotonic()
    assert goes_in(gate)
    assert 1.5 < time.monotonic() - started < 2.5


def test_the_servers_clock_counts_and_not_the_workers(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time
    for ahead in (3600, -3600):
        account = f"ahead {ahead}"
        monkeypatch.setattr("time.time", lambda ahead=ahead: right() + ahead)
        assert sum(goes_in(acme(valkey.url(), account=account)) for _ in range(20)) == 20
        monkeypatch.undo()
        assert sum(goes_in(acme(valkey.url(), account=account)) for _ in range(20)) == 10


def test_a_search_has_a_limit_of_its_own(valkey: EmbeddedValkey) -> None:
    gate = FleetLimits(valkey.url(), rules=LimitSettings().limits(), patience=0.0).gate("hubspot", app="a", account="b")
    assert sum(goes_in(gate, route="/crm/v3/objects/meetings/search") for _ in range(8)) == 5
    assert goes_in(gate, route="/crm/v3/objects/meetings/{id}")


def test_those_who_wait_for_the_tighter_limit_use_up_no_other(valkey: EmbeddedValkey) -> None:
    rules = Rules({"acme": (Limit(Per.ACCOUNT, 10, 60), Limit(Per.ACCOUNT, 1, 30, route="/search"))})
    gate = acme(valkey.url(), rules=rules)
    assert sum(goes_in(gate, route="/search") for _ in range(30)) == 1
    assert sum(goes_in(gate, route="/events") for _ in range(30)) == 9


def test_google_never_has_to_say_too_fast(valkey: EmbeddedValkey) -> None:
    emulator = GoogleEmulator()
    emulator.books.limits.update(person_per_minute=12, project_per_minute=20)
    rules = LimitSettings(google_requests=12, google_project_requests=20).limits()
    with serving(build_app(emulator)) as url:
        services = [google(url, valkey, rules) for _ in range(2)]  # as two processes have them
        read = {person: sum(reads(one, person) for one in services for _ in range(10)) for person in ("dana", "ben")}
    assert read == {"dana": 12, "ben": 8}
    assert emulator.books.limits_exceeded == {}
    assert set(emulator.books.by_status) == {"200"}


def google(url: str, valkey: EmbeddedValkey, rules: Rules) -> Registry:
    known = GoogleCredentials(service_account(), base_url=f"{url}/calendar/v3", token_uri=f"{url}/token")
    return connect(Credentials(google=known), limits=FleetLimits(valkey.url(), rules=rules, patience=0.0))


def reads(registry: Registry, person: str) -> bool:
    try:
        registry.reader(calendar_ref(f"{person}@example.com")).read_window(WINDOW)
    except NoRoom:
        return False
    return True


def test_the_emulators_limits_are_shown_and_set(valkey: EmbeddedValkey) -> None:
    assert valkey
    with served() as world:
        assert requests.get(f"{world.url}/_control/limits", timeout=5).json() == {
            "at_once": 4,
            "per_ten_minutes": 10000,
        }
        assert world.control("limits", {"per_ten_minutes": 2})["per_ten_minutes"] == 2
        client = world.service().calendar(world.ref())
        for _ in range(2):
            client.read_window(WINDOW)
        with pytest.raises(RateLimited):
            client.read_window(WINDOW)
        assert world.books()["limits_exceeded"]["requests"] >= 1
        refused = requests.post(f"{world.url}/_control/limits", json={"at_noon": 1}, timeout=5)
        assert (refused.status_code, refused.json()) == (404, {"error": "no limit at_noon"})
        for wrong in (0, -1, "many"):
            sent = requests.post(f"{world.url}/_control/limits", json={"at_once": wrong}, timeout=5)
            assert sent.status_code == 422


def test_jobs_and_the_commit_worker_count_together(
    valkey: EmbeddedValkey, postgres: EmbeddedPostgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, role in (("DATABASE_URL", "watertight_app"), ("COMMIT_DATABASE_URL", "watertight_commit")):
        monkeypatch.setenv(f"WATERTIGHT_{name}", postgres.url(role).replace("/watertight?", f"/{database}?"))
    monkeypatch.setenv("WATERTIGHT_BROKER_URL", valkey.url())
    monkeypatch.setenv("WATERTIGHT_OUTLOOK_REQUESTS", "3")
    with served() as world:
        vendor = {"base_url": f"{world.url}/v1.0", "login_url": world.url, "tenant_id": "t", "client_id": "c"}
        for name, value in {**vendor, "client_secret": "s"}.items():
            monkeypatch.setenv(f"WATERTIGHT_OUTLOOK_{name.upper()}", value)
        runtimes = [make(load()) for make in (build, build_committing)]
        readers = [runtime.calendars.reader(world.ref(remote="dana@example.com")) for runtime in runtimes]
        assert [reader.read_window(WINDOW) for reader in (*readers, readers[0])] == [[]] * 3
        for reader in readers:
            with pytest.raises(NoRoom):
                reader.read_window(WINDOW)
        assert world.books()["by_mailbox"]["dana@example.com"] == 3
    for runtime in runtimes:
        runtime.sessions.kw["bind"].dispose()


# Places


def test_three_processes_of_sixteen_threads_are_never_more_than_four_at_once(valkey: EmbeddedValkey) -> None:
    with served() as world:
        world.fault("latency", match="calendarView", seconds=0.03, times=None)
        apps = ("watertight", "watertight-reader", "watertight")  # two credential sets, one mailbox
        counts = answers(*(process("read", valkey.url(), world.url, 16, 4, app) for app in apps))
        books = world.books()
    assert sum(one["read"] for one in counts) == 3 * 16 * 4
    assert books["most_at_once"] == 4
    assert books["limits_exceeded"] == {}
    assert set(books["by_status"]) == {"200"}
    with redis.Redis.from_url(valkey.url()) as client:
        assert b"example" not in b" ".join(client.keys(f"{PREFIX}:*"))
        assert all(client.pttl(key) > 0 for key in client.keys(f"{PREFIX}:*"))  # nothing stays for ever


def test_the_place_of_a_killed_worker_comes_back(valkey: EmbeddedValkey) -> None:
    holders = [process("hold", valkey.url(), 3) for _ in range(2)]
    for holder in holders:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "inside\n"
    gate = acme(valkey.url())
    assert not goes_in(gate)
    for holder in holders:
        holder.kill()
        holder.communicate()
    assert not goes_in(gate)
    started = time.monotonic()
    while not goes_in(gate):
        assert time.monotonic() - started < 4
        time.sleep(0.05)


def test_a_place_is_kept_where_the_vendor_may_still_be_at_it(valkey: EmbeddedValkey) -> None:
    rules = Rules({"acme": (Limit(Per.ACCOUNT, 1),)})
    gate = FleetLimits(valkey.url(), rules=rules, patience=0.0, place_seconds=0.6).gate("acme", app="a", account="b")
    with pytest.raises(ValueError, match="bad"), gate.enter(route="/x"):
        raise ValueError("bad")
    with pytest.raises(requests.ReadTimeout), gate.enter(route="/x"):
        raise requests.ReadTimeout
    assert not goes_in(gate)
    time.sleep(0.7)
    assert goes_in(gate)


# Retry-After


def test_a_retry_after_seen_by_one_stops_all(valkey: EmbeddedValkey) -> None:
    rules = LimitSettings().limits()
    with served() as world:
        ref = world.ref()
        known = Credentials(world.credentials())
        one, two = (connect(known, limits=FleetLimits(valkey.url(), rules=rules)).reader(ref) for _ in range(2))
        two.read_window(WINDOW)
        world.emulator.faults.arm(Fault(kind="rate_limited", calendar=ref.remote.lower(), seconds=3))
        with pytest.raises(RateLimited) as caught:
            one.read_window(WINDOW)
        assert caught.value.retry_after == 3
        before = world.books()["total"]
        for reader in (one, two):
            with pytest.raises(NoRoom) as refused:
                reader.read_window(WINDOW)
            assert refused.value.retry_after == pytest.approx(3, abs=0.5)
        assert world.books()["total"] == before
        time.sleep(3)
        assert [reader.read_window(WINDOW) for reader in (one, two)] == [[], []]


def test_a_limit_without_retry_after_stops_all_for_a_default(valkey: EmbeddedValkey) -> None:
    emulator = GoogleEmulator()
    with serving(build_app(emulator)) as url:
        one, two = (google(url, valkey, LimitSettings().limits()) for _ in range(2))
        emulator.faults.arm(Fault(kind="rate_limited_403"))
        with pytest.raises(RateLimited) as caught:
            one.reader(calendar_ref()).read_window(WINDOW)
        assert caught.value.retry_after is None
        assert not reads(two, "dana")
        assert reads(two, "ben")


def test_an_exhausted_quota_of_writes_does_not_stop_reading(valkey: EmbeddedValkey) -> None:
    emulator = GoogleEmulator()
    with serving(build_app(emulator)) as url:
        one = google(url, valkey, LimitSettings().limits())
        emulator.faults.arm(Fault(kind="quota_exceeded"))
        with pytest.raises(RateLimited):
            one.reader(calendar_ref()).read_window(WINDOW)
        assert reads(one, "dana")


# Valkey is away

SLOW = Rules({"acme": (Limit(Per.ACCOUNT, 50, 60), Limit(Per.ACCOUNT, 4))}, blind_share=0.1)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_without_valkey_it_goes_slow_and_not_unlimited_and_recovers(
    tmp_path: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.limits.AWAY_SECONDS", 1.0)
    with EmbeddedValkey(tmp_path) as valkey, structlog.testing.capture_logs() as lines:
        gate = acme(valkey.url(), rules=SLOW)
        assert goes_in(gate)
        assert valkey.pid is not None
        server = psutil.Process(valkey.pid)
        server.send_signal(how)
        if how is signal.SIGKILL:
            server.wait()  # while it is dying it counts as running, and would not be started again
        started = time.monotonic()
        assert sum(goes_in(gate) for _ in range(40)) == 5  # a tenth of fifty
        assert time.monotonic() - started < 4  # not forty times the socket's timeout
        assert [line["event"] for line in lines] == ["limiter.away"]
        if how is signal.SIGSTOP:
            server.resume()
        else:
            valkey.start()
        until = time.monotonic() + 20
        while not goes_in(gate):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert sum(goes_in(gate) for _ in range(20)) == 20
        assert [line["event"] for line in lines] == ["limiter.away", "limiter.back"]


def test_many_threads_without_valkey_are_one_at_once(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        url = valkey.url()
    gate = acme(url, rules=Rules({"acme": (Limit(Per.ACCOUNT, 4),)}), patience=5.0)
    inside = most = 0

    def work(_: int) -> None:
        nonlocal inside, most
        with gate.enter(route="/x"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert most == 1
