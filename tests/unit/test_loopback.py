"""Who gets in without a token: programs of this machine, no proxy, no page of another site, no borrowed name."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.requests import HTTPConnection

from workers import programs
from workers.embedded import Stack
from workers.settings import Settings, SettingsError
from workers.up import opened
from workers.web.loopback import is_from_here, require_loopback


def connection(server: str | None = "127.0.0.1", **headers: str) -> HTTPConnection:
    told = {"host": "127.0.0.1:8000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPConnection(
        {
            "type": "http",
            "scheme": "http",
            "path": "/api/proposals",
            "query_string": b"",
            "server": None if server is None else (server, 8000),
            "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        }
    )


@pytest.mark.parametrize(
    "here",
    [
        connection(),
        connection(host="localhost:8000"),
        connection("::1", host="[::1]:8000"),
        connection("127.8.9.1", host="127.8.9.1"),
        connection(origin="http://127.0.0.1:8000"),
        connection(sec_fetch_site="same-origin"),
        connection(sec_fetch_site="none"),
    ],
)
def test_a_program_of_this_machine_is_from_here(here: HTTPConnection) -> None:
    assert is_from_here(here)


@pytest.mark.parametrize(
    "elsewhere",
    [
        connection("192.0.2.7"),
        connection("0.0.0.0"),  # noqa: S104 - an address to be refused
        connection(None),
        connection(host="evil.example"),
        connection(host="127.0.0.1.evil.example"),
        connection(host="localhost.evil.example:8000"),
        connection(host=""),
        connection(host="["),
        connection(host="evil@127.0.0.1:x"),
        connection(origin="http://evil.example"),
        connection(origin="http://127.0.0.1:8001"),
        connection(origin="https://127.0.0.1:8000"),
        connection(origin="null"),
        connection(sec_fetch_site="cross-site"),
        connection(sec_fetch_site="same-site"),
        connection(x_forwarded_for="192.0.2.7"),
        connection(forwarded="for=192.0.2.7"),
        connection(via="1.1 proxy"),
    ],
)
def test_what_another_site_or_machine_sent_is_not(elsewhere: HTTPConnection) -> None:
    assert not is_from_here(elsewhere)


OPEN = Settings(api_open=True)


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        ([], {}),
        (["--host", "127.0.0.1", "--port", "1"], {}),
        (["--host=localhost"], {}),
        (["--host", "0.0.0.0", "--host", "::1"], {}),  # noqa: S104 - the last counts
        ([], {"UVICORN_HOST": "127.0.0.2"}),
    ],
)
def test_an_open_api_may_be_served_on_loopback(arguments: list[str], env: dict[str, str]) -> None:
    require_loopback(OPEN, arguments=arguments, env=env)


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["--host", "0.0.0.0"], {}),  # noqa: S104 - refused
        (["--host=::"], {}),
        (["--host", "web.example"], {}),
        (["--host", ""], {}),
        (["--host"], {}),
        ([], {"UVICORN_HOST": "0.0.0.0"}),  # noqa: S104 - refused
        (["--uds", "/tmp/web"], {}),  # noqa: S108 - refused
        (["--fd=3"], {}),
        ([], {"UVICORN_FD": "3"}),
    ],
)
def test_an_open_api_is_served_nowhere_else(arguments: list[str], env: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="WATERTIGHT_API_OPEN"):
        require_loopback(OPEN, arguments=arguments, env=env)
    require_loopback(Settings(api_open=False), arguments=arguments, env=env)


def test_an_open_api_has_no_address_that_others_know() -> None:
    with pytest.raises(SettingsError, match="PUBLIC_URL"):
        require_loopback(Settings(api_open=True, public_url="https://book.example"), arguments=[], env={})


@pytest.mark.parametrize(
    ("settings", "emulated", "told"),
    [
        (Settings(), programs.EMULATED, "True"),
        (Settings(), programs.EMULATED[1:], "False"),
        (Settings(public_url="https://book.example"), programs.EMULATED, "False"),
        (Settings(public_url="http://[::1]:80"), programs.EMULATED, "True"),
        (OPEN, (), "True"),
    ],
)
def test_up_opens_the_api_only_while_nothing_is_real(
    settings: Settings, emulated: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    decided = opened(settings.model_copy(update={"state_dir": tmp_path}), emulated)
    stack = Stack(owner_url="", database_url="", commit_database_url="", broker_url="")
    assert programs.environment(decided, stack)["WATERTIGHT_API_OPEN"] == told
