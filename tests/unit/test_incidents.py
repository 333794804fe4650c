"""When people are told: a storm is one message, what flickers is one incident, and nothing critical is kept from anybody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.catalogue import CATALOGUE, entry_of
from sync.incidents import GATHER, REMIND, STAYS_CLOSED, IncidentView, NoticePlan, key_of, plan_notices

START = datetime(2027, 3, 8, 3, 0, tzinfo=UTC)
OUTAGE = "provider_unavailable"


def seconds(number: float) -> datetime:
    return START + timedelta(seconds=number)


@dataclass
class Life:
    """One incident as the watch keeps it: it is looked at every two seconds, and what is planned is done."""

    view: IncidentView
    now: datetime = START
    over: bool = False

    @classmethod
    def of(cls, code: str, *, alerts: int = 1) -> Life:
        severity = entry_of(code).severity
        return cls(IncidentView(1, code, severity, START, alerts, newest_at=START))

    def look(self, at: float, *, alerts: int | None = None) -> list[str]:
        """What people are told at this second, when so many alerts are open."""
        self.now = seconds(at)
        if alerts is not None:
            closed = self.now if alerts < self.view.open_alerts else self.view.last_closed_at
            newest = self.now if alerts > self.view.open_alerts else self.view.newest_at
            self.view = replace(self.view, open_alerts=alerts, last_closed_at=closed, newest_at=newest)
        plan = plan_notices([self.view], self.now)
        self.view = replace(self.view, severity=plan.severities[1])
        for notice in plan.notices:
            self._told(notice)
        self.over = bool(plan.over)
        return [notice.what for notice in plan.notices]

    def _told(self, notice: NoticePlan) -> None:
        self.view = replace(self.view, told_at=self.now, told_severity=notice.severity, told_count=notice.count)


def test_a_storm_is_one_message() -> None:
    life = Life.of(OUTAGE)
    assert life.look(0) == life.look(3, alerts=400) == []
    assert life.look(5, alerts=500) == ["opened"]
    assert life.view.told_count == 500
    assert [life.look(at) for at in range(7, 800, 60)] == [[]] * 14


def test_ten_times_as_many_is_news() -> None:
    life = Life.of(OUTAGE)
    life.look(5)
    assert life.look(10, alerts=9) == []
    assert life.look(12, alerts=10) == ["grown"]
    assert life.look(14, alerts=99) == []
    assert life.look(16, alerts=100) == ["grown"]


def test_a_warning_that_lasts_becomes_critical_and_is_told_so_once() -> None:
    life = Life.of(OUTAGE)
    assert (life.look(5), life.view.severity) == (["opened"], "warning")
    assert life.look(899) == []
    assert (life.look(900), life.view.severity) == (["escalated"], "critical")
    assert life.look(902) == []


def test_what_was_critical_stays_so_while_it_lasts() -> None:
    life = Life.of(OUTAGE, alerts=3)
    life.look(5)
    life.look(900)
    life.look(910, alerts=1)
    assert life.view.severity == "critical"


def test_a_bypass_is_critical_at_once() -> None:
    life = Life.of("master_check_bypassed")
    assert (life.look(5), life.view.told_severity) == (["opened"], "critical")


def test_people_are_reminded_of_what_is_critical() -> None:
    life = Life.of("credential_revoked")
    life.look(5)
    hours = REMIND.total_seconds()
    assert life.look(hours) == []
    assert life.look(5 + hours) == ["reminded"]
    assert life.look(5 + 2 * hours) == ["reminded"]


def test_nobody_is_reminded_of_a_warning() -> None:
    life = Life.of("master_conflict")
    life.look(5)
    assert life.look(86_400 * 3) == []


def test_it_is_over_when_it_stays_closed() -> None:
    life = Life.of(OUTAGE)
    life.look(5)
    assert life.look(60, alerts=0) == life.look(89) == []
    assert (life.look(90), life.over) == (["resolved"], True)


def test_what_comes_back_soon_was_never_over() -> None:
    life = Life.of(OUTAGE)
    life.look(5)
    told = [life.look(at, alerts=at // 20 % 2) for at in range(10, 400, 20)]
    assert told == [[]] * len(told)


def test_what_flickers_for_long_escalates_all_the_same() -> None:
    life = Life.of(OUTAGE)
    told = [what for at in range(5, 1000, 20) for what in life.look(at, alerts=1 - at // 20 % 2)]
    assert told == ["opened", "escalated"]


def test_what_was_over_before_anybody_was_told_is_no_news() -> None:
    life = Life.of(OUTAGE)
    assert life.look(3, alerts=0) == life.look(20) == []
    assert (life.look(33), life.over) == ([], True)


def test_further_calendars_that_each_need_somebody_are_told_after_a_while() -> None:
    life = Life.of("credential_revoked")
    life.look(5)
    assert life.look(60, alerts=2) == life.look(604) == []
    assert life.look(605) == ["grown"]
    assert life.look(607) == []


def test_an_outage_that_spreads_is_not_told_again_for_each_calendar() -> None:
    life = Life.of("rate_limited")
    life.look(5)
    assert [life.look(60 * n, alerts=n) for n in range(2, 9)] == [[]] * 7


def test_signs_of_one_outage_are_one_incident() -> None:
    keys = {key_of(code, provider="google", task=None) for code in ("provider_unavailable", "provider_timeout")}
    assert keys == {"provider_unavailable:google"}
    assert key_of("bug", provider=None, task="Commit") == "bug:Commit"
    assert key_of("broker_away", provider=None, task=None) == "broker_away:"


@given(
    code=st.sampled_from(sorted(CATALOGUE)),
    counts=st.lists(st.integers(0, 600), min_size=1, max_size=60),
    steps=st.lists(st.integers(1, 700), min_size=60, max_size=60),
)
def test_whatever_happens_the_messages_make_a_story(code: str, counts: list[int], steps: list[int]) -> None:
    """Opened first and once, resolved last and once, never more often than needed, and no severity that falls."""
    life, told, at, severities = Life.of(code), list[str](), 0, list[str]()
    for count, step in zip(counts, steps, strict=False):
        at += step
        told += life.look(at, alerts=count)
        severities.append(life.view.severity)
        if life.over:
            break
    assert told.count("opened") <= 1
    assert told[:1] in ([], ["opened"])
    assert ("resolved" in told[:-1], told.count("escalated") <= 1) == (False, True)
    assert severities == sorted(severities, reverse=True)  # warning … critical
    if told:
        assert life.over == (told[-1] == "resolved")
    assert told.count("reminded") <= at / REMIND.total_seconds()


@given(wait=st.floats(0, 3600), code=st.sampled_from(sorted(CATALOGUE)))
def test_nobody_is_told_before_the_storm_is_gathered_nor_much_later(wait: float, code: str) -> None:
    assert bool(Life.of(code).look(wait)) == (wait >= GATHER.total_seconds())


@pytest.mark.parametrize("quiet", [0.0, 29.9])
def test_it_is_not_over_before_it_has_stayed_closed(quiet: float) -> None:
    life = Life.of(OUTAGE)
    life.look(5)
    life.look(60, alerts=0)
    life.look(60 + quiet)
    assert (life.over, quiet < STAYS_CLOSED.total_seconds()) == (False, True)
