"""How often somebody may ask: one window for all web processes, and a share of it while Valkey is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from workers.embedded import EmbeddedValkey
from workers.web.rates import Rate, Rates


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


def test_two_processes_share_one_window(valkey: EmbeddedValkey) -> None:
    one, other = (Rates(valkey.url(), share=0.1) for _ in range(2))
    taken = [rates.take("shared", 5) for rates in (one, other, one, other, one)]
    assert [(rate.taken, rate.left) for rate in taken] == [(True, left) for left in (4, 3, 2, 1, 0)]
    refused = other.take("shared", 5)
    assert (refused.taken, refused.left, 50 < refused.reset <= 60) == (False, 0, True)
    assert other.take("somebody else", 5).taken


def test_a_rate_is_told_as_the_draft_says() -> None:
    assert Rate(taken=True, most=120, left=7, reset=2.1).headers() == {
        "RateLimit-Policy": '"minute";q=120;w=60',
        "RateLimit": '"minute";r=7;t=3',
    }
    assert Rate(taken=False, most=120, left=0, reset=0.0).headers()["Retry-After"] == "1"


@pytest.mark.parametrize("url", [None, "redis://127.0.0.1:1/0"])
def test_without_valkey_a_share_is_granted_and_no_more(url: str | None) -> None:
    rates = Rates(url, share=0.1)
    granted = [rates.take("x", 30).taken for _ in range(10)]
    assert granted == [True] * 3 + [False] * 7
    assert 0 < rates.take("x", 30).reset <= 62


def test_a_valkey_that_goes_away_leaves_the_share(tmp_path_factory: pytest.TempPathFactory) -> None:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        rates = Rates(server.url(), share=0.1)
        assert rates.take("x", 10).left == 9
        server.stop()
        assert [rates.take("x", 10).taken for _ in range(3)] == [True, False, False]
