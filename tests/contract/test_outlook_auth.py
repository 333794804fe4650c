"""Outlook's token flow: msal against the emulator's token endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from providers.outlook.auth import ClientCredentialFlow
from sync.errors import CredentialRevoked, ProviderUnavailable, RateLimited
from tests.contract.outlook_world import WINDOW, World, served


@pytest.fixture
def world() -> Iterator[World]:
    with served() as world:
        yield world


def test_token_is_fetched_once_by_many_threads(world: World) -> None:
    flow = ClientCredentialFlow(world.credentials())
    with ThreadPoolExecutor(8) as pool:
        tokens = {answer.result() for answer in [pool.submit(flow.token) for _ in range(16)]}
    assert len(tokens) == 1
    assert _tokens_asked(world) == 1


def test_forgotten_token_is_not_handed_out_again(world: World) -> None:
    flow = ClientCredentialFlow(world.credentials())
    old = flow.token()
    flow.forget(old)
    new = flow.token()
    assert new != old
    flow.forget(old)  # a thread that is late with the same bad news
    assert flow.token() == new
    assert _tokens_asked(world) == 2


def test_expired_token_is_replaced_once(world: World) -> None:
    client = world.service().calendar(world.ref())
    client.read_window(WINDOW)
    world.fault("expired_tokens")
    assert client.read_window(WINDOW) == []
    assert _tokens_asked(world) == 2


def test_lasting_refusal_of_fresh_tokens_needs_a_human(world: World) -> None:
    client = world.service().calendar(world.ref())
    client.read_window(WINDOW)
    world.fault("expired_tokens", times=None)
    with pytest.raises(CredentialRevoked):
        client.read_window(WINDOW)


def test_revoked_secret_needs_a_human_and_works_again_once_it_is_put_right(world: World) -> None:
    client = world.service().calendar(world.ref())
    world.fault("revoked_secret")
    with pytest.raises(CredentialRevoked, match="invalid_client"):
        client.read_window(WINDOW)
    assert client.read_window(WINDOW) == []


@pytest.mark.parametrize("path", ["/oauth2/v2.0/token", "/openid-configuration"])
@pytest.mark.parametrize("kind", ["server_error", "unavailable", "html", "empty_body", "truncated", "error_in_ok"])
def test_token_endpoint_that_talks_nonsense_may_recover(world: World, path: str, kind: str) -> None:
    flow = ClientCredentialFlow(world.credentials())
    world.fault(kind, match=path)
    with pytest.raises(ProviderUnavailable):
        flow.token()
    assert flow.token()


def test_token_endpoint_may_ask_to_wait(world: World) -> None:
    world.fault("rate_limited", seconds=9, match="/token")
    with pytest.raises(RateLimited) as caught:
        ClientCredentialFlow(world.credentials()).token()
    assert caught.value.retry_after == 9


def test_nobody_at_the_other_end_may_recover() -> None:
    with served() as gone:
        credentials = gone.credentials()
    with pytest.raises(ProviderUnavailable):
        ClientCredentialFlow(credentials).token()


def test_secret_is_not_shown(world: World) -> None:
    assert "hush" not in repr(world.credentials(secret="hush"))


def _tokens_asked(world: World) -> int:
    asked: int = world.books()["by_route"]["POST /{tenant}/oauth2/v2.0/token"]
    return asked
