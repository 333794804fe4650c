"""The limiter's parts that need no server: the table, one process alone, and who asks a Valkey that is away."""

from __future__ import annotations

import threading

import pytest
import structlog
from pydantic import ValidationError

from providers.deadlines import DEADLINE_SECONDS
from providers.gates import OPEN, UNLIMITED, NoRoom, Place, Refusal
from providers.limits import AWAY_SECONDS, PLACE_SECONDS, Circuit, FleetLimits, Keys
from providers.local_limits import LocalLimits
from providers.rules import Limit, Per, Rules
from providers.transport import CONNECT_SECONDS
from sync.retry import branch_of
from workers.limit_settings import LimitSettings
from workers.settings import SettingsError, load

TEN_A_MINUTE = Limit(Per.ACCOUNT, 10, 60)
NOWHERE = "redis://127.0.0.1:9/0"


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def entered(limits: LocalLimits, *rates: Limit) -> Place:
    place = limits.take("dana", [(f"rate {number}", rate) for number, rate in enumerate(rates)])
    assert isinstance(place, Place)
    return place


def refused(limits: LocalLimits, *rates: Limit) -> Refusal:
    refusal = limits.take("dana", [(f"rate {number}", rate) for number, rate in enumerate(rates)])
    assert isinstance(refusal, Refusal)
    return refusal


# The table


def test_the_defaults_are_the_vendors_figures() -> None:
    rules = LimitSettings().limits()
    assert rules.of("outlook") == (Limit(Per.ACCOUNT, 4), Limit(Per.BOTH, 10_000, 600))
    assert rules.of("google") == (Limit(Per.BOTH, 600, 60), Limit(Per.APP, 10_000, 60))
    assert rules.of("hubspot") == (Limit(Per.ACCOUNT, 190, 10), Limit(Per.ACCOUNT, 5, 1, "/search"))
    assert rules.of("calcom") == (Limit(Per.ACCOUNT, 120, 60),)
    assert rules.of("unheard of") == ()


def test_every_figure_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATERTIGHT_HUBSPOT_REQUESTS", "100")
    monkeypatch.setenv("WATERTIGHT_OUTLOOK_APP_AT_ONCE", "4")
    rules = load().limits()
    assert rules.of("hubspot")[0] == Limit(Per.ACCOUNT, 100, 10)
    assert Limit(Per.APP, 4) in rules.of("outlook")


@pytest.mark.parametrize("wrong", ["0", "-1", "many", "1e9", ""])
def test_a_limit_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("WATERTIGHT_GOOGLE_REQUESTS", wrong)
    with pytest.raises(SettingsError, match="WATERTIGHT_GOOGLE_REQUESTS"):
        load()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan"), float("inf")])
def test_a_blind_share_is_a_share(share: float) -> None:
    with pytest.raises(ValidationError):
        LimitSettings(limits_blind_share=share)


def test_a_search_counts_twice_and_nothing_else_does() -> None:
    keys = Keys.of("hubspot", app="a", account="b", limits=LimitSettings().limits().of("hubspot"))
    assert len(keys.rates_of("/crm/v3/objects/meetings/search")) == 2
    assert len(keys.rates_of("/crm/v3/objects/meetings/{id}")) == 1


def test_keys_tell_no_address_and_differ_where_a_limit_does() -> None:
    limits = LimitSettings().limits().of("outlook")
    one, two = (Keys.of("outlook", app=app, account="dana@example.com", limits=limits) for app in ("reads", "writes"))
    other = Keys.of("outlook", app="reads", account="ben@example.com", limits=limits)
    assert (one.park, one.places) == (two.park, two.places)  # the mailbox's own, whoever asks
    assert one.rates != two.rates
    assert {one.park, *dict(one.places), *dict(one.rates)}.isdisjoint(
        {other.park, *dict(other.places), *dict(other.rates)}
    )
    assert "dana" not in f"{one}"
    assert all(key.startswith("watertight:limit:outlook:") for key in (one.park, *dict(one.places), *dict(one.rates)))


def test_a_place_outlasts_every_request() -> None:
    assert PLACE_SECONDS > DEADLINE_SECONDS + CONNECT_SECONDS


def test_the_open_gate_lets_everybody_through() -> None:
    OPEN.park(1000)
    with OPEN.enter(route="/x"), UNLIMITED.gate("v", app="a", account="b").enter(route="/x"):
        pass


# One process alone


def test_alone_a_process_takes_its_share_of_a_rate() -> None:
    clock = Clock()
    limits = LocalLimits(share=0.2, now=clock)
    for _ in range(2):
        entered(limits, TEN_A_MINUTE).leave()
    assert refused(limits, TEN_A_MINUTE) == Refusal(61.0)
    clock.at += 60.5
    assert refused(limits, TEN_A_MINUTE).seconds == pytest.approx(0.5)
    clock.at += 0.5
    entered(limits, TEN_A_MINUTE)


def test_a_share_is_never_nothing() -> None:
    limits = LocalLimits(share=0.01, now=Clock())
    entered(limits, Limit(Per.ACCOUNT, 5, 1)).leave()
    assert refused(limits, Limit(Per.ACCOUNT, 5, 1)).seconds == 2.0


def test_a_request_that_one_rate_refuses_is_counted_in_none() -> None:
    clock = Clock()
    limits = LocalLimits(share=1.0, now=clock)
    wide, narrow = Limit(Per.APP, 2, 60), Limit(Per.ACCOUNT, 1, 1)
    entered(limits, wide, narrow).leave()
    refused(limits, wide, narrow)
    clock.at += 5
    entered(limits, wide, narrow)


def test_alone_there_is_one_request_at_once() -> None:
    limits = LocalLimits(share=1.0)
    first = entered(limits)
    assert 0 < refused(limits).seconds < 1
    first.abandon()
    entered(limits)


def test_a_longer_park_is_not_shortened() -> None:
    clock = Clock()
    limits = LocalLimits(share=1.0, now=clock)
    limits.park("dana", 60)
    limits.park("dana", 5)
    assert (limits.parked("dana"), limits.parked("ben")) == (60, 0)
    clock.at += 60
    assert limits.parked("dana") == 0


# A Valkey that is away


def test_one_caller_in_five_seconds_asks_again() -> None:
    clock = Clock()
    circuit = Circuit(now=clock)
    assert circuit.lets_through()
    assert circuit.is_closed
    circuit.broke(OSError())
    assert not circuit.lets_through()
    clock.at += AWAY_SECONDS
    assert [circuit.lets_through() for _ in range(3)] == [True, False, False]
    assert not circuit.is_closed
    circuit.worked()
    assert [circuit.lets_through() for _ in range(3)] == [True, True, True]


def test_what_happens_to_it_is_said_once() -> None:
    circuit = Circuit()
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            circuit.broke(OSError("redis://:secret@host"))
        for _ in range(5):
            circuit.worked()
    assert [line["event"] for line in lines] == ["limiter.away", "limiter.back"]
    assert "secret" not in str(lines)


@pytest.mark.parametrize("url", [None, NOWHERE], ids=["not set", "not there"])
def test_without_valkey_it_is_slow_and_not_unlimited(url: str | None) -> None:
    gate = FleetLimits(url, rules=Rules({"acme": (TEN_A_MINUTE,)}, blind_share=0.3)).gate("acme", app="a", account="b")
    for _ in range(3):
        with gate.enter(route="/x"):
            pass
    with pytest.raises(NoRoom) as caught, gate.enter(route="/x"):
        pass
    assert branch_of(caught.value) == "Transient"
    assert caught.value.retry_after == pytest.approx(61, abs=5)


@pytest.mark.parametrize("url", [None, NOWHERE], ids=["not set", "not there"])
def test_without_valkey_a_park_holds_in_this_process(url: str | None) -> None:
    limits = FleetLimits(url, rules=Rules({}))
    limits.gate("acme", app="a", account="Dana@Example.com").park(30)
    with pytest.raises(NoRoom) as caught, limits.gate("acme", app="x", account="dana@example.com").enter(route="/x"):
        pass
    assert caught.value.retry_after == pytest.approx(30, abs=1)
    with limits.gate("acme", app="a", account="ben@example.com").enter(route="/x"):
        pass


@pytest.mark.parametrize(("asked", "left"), [(None, 5), (1e300, 86_400), (float("inf"), 86_400)])
def test_an_odd_park_is_brought_into_bounds(asked: float | None, left: float) -> None:
    gate = FleetLimits(None, rules=Rules({})).gate("acme", app="a", account="b")
    gate.park(asked)
    with pytest.raises(NoRoom) as caught, gate.enter(route="/x"):
        pass
    assert caught.value.retry_after == pytest.approx(left, abs=1)


@pytest.mark.parametrize("asked", [0, -3, 1e-9])
def test_a_park_of_no_time_keeps_nobody_out(asked: float) -> None:
    gate = FleetLimits(None, rules=Rules({})).gate("acme", app="a", account="b")
    gate.park(asked)
    with gate.enter(route="/x"):
        pass


def test_a_second_request_waits_for_the_first_but_not_long() -> None:
    gate = FleetLimits(None, rules=Rules({}), patience=0.3).gate("acme", app="a", account="b")
    with gate.enter(route="/x"), pytest.raises(NoRoom), gate.enter(route="/x"):
        pass
    inside, out = threading.Event(), threading.Event()

    def hold() -> None:
        with gate.enter(route="/x"):
            inside.set()
            out.wait(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with gate.enter(route="/x"):
        pass
    thread.join()
