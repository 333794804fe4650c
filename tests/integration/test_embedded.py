from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from workers.embedded import Embedded, EmbeddedError, EmbeddedPostgres, EmbeddedValkey, Stack, StateLock, explained

ROOT = Path(__file__).parents[2]
NOBODY = 65534
# Imports as whoever we are, then lives as somebody who may not read our home directory.
OWNER_OF_A_STACK = """
import encodings.idna, json, os, sys
from pathlib import Path
from workers.embedded import Embedded, EmbeddedError
if sys.argv[2] != str(os.getuid()):
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
try:
    with Embedded(Path(sys.argv[1])) as stack:
        print(json.dumps({"app": stack.database_url, "broker": stack.broker_url}), flush=True)
        sys.stdin.read()
except EmbeddedError as error:
    sys.exit(print(json.dumps({"error": str(error)}), flush=True))
"""


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return list(cursor.fetchall()) if cursor.description else []


def ping(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        return bool(client.ping())


def servers_in(folder: Path) -> list[str]:
    """Names of all servers that work in ``folder``; of PostgreSQL only the one that the others come from."""
    found = [
        one for one in psutil.process_iter(["name", "cwd", "ppid"]) if (one.info["cwd"] or "").startswith(str(folder))
    ]
    pids = {one.pid for one in found}
    return sorted(one.info["name"] for one in found if one.info["ppid"] not in pids)


def own_stack(state_dir: Path, *, uid: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OWNER_OF_A_STACK, str(state_dir), str(uid)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def first_words(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout
    words: dict[str, str] = json.loads(process.stdout.readline())
    return words


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Embedded, Stack, Path]]:
    state_dir = tmp_path_factory.mktemp("running")
    embedded = Embedded(state_dir)
    yield embedded, embedded.start(), state_dir
    embedded.stop()


@pytest.fixture
def nobodys_dir() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    folder = Path("/tmp") / f"watertight-nobody-{os.getpid()}"  # noqa: S108  pytest's own directories are closed to others
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def test_a_restart_keeps_the_data_of_both(tmp_path: Path) -> None:
    with Embedded(tmp_path) as stack:
        ask(stack.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        with redis.Redis.from_url(stack.broker_url) as client:
            client.set("kept", "yes")
    assert servers_in(tmp_path) == []
    with Embedded(tmp_path) as stack:
        assert ask(stack.owner_url, "SELECT answer FROM kept") == [(42,)]
        with redis.Redis.from_url(stack.broker_url) as client:
            assert client.get("kept") == b"yes"


@pytest.mark.parametrize(
    ("field", "role"),
    [("owner_url", "postgres"), ("database_url", "watertight_app"), ("commit_database_url", "watertight_commit")],
)
def test_each_role_enters_as_itself(running: tuple[Embedded, Stack, Path], field: str, role: str) -> None:
    url: str = getattr(running[1], field)
    assert ask(url, "SELECT current_user, current_database()") == [(role, "watertight")]


def test_only_the_owner_may_do_everything(running: tuple[Embedded, Stack, Path]) -> None:
    query = "SELECT rolname FROM pg_roles WHERE rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls"
    assert ask(running[1].owner_url, query) == [("postgres",)]


def test_settings_that_others_rely_on(running: tuple[Embedded, Stack, Path]) -> None:
    names = ("fsync", "TimeZone", "max_connections", "log_lock_waits", "server_encoding", "data_checksums")
    values = [ask(running[1].database_url, f"SHOW {name}")[0][0] for name in names]
    assert values == ["on", "UTC", "200", "on", "UTF8", "on"]
    with redis.Redis.from_url(running[1].broker_url, decode_responses=True) as client:
        wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"}
        assert client.config_get(*wanted) == wanted


def test_the_url_wins_over_postgres_variables_of_the_environment(
    running: tuple[Embedded, Stack, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    assert ask(running[1].database_url, "SELECT 1") == [(1,)]


def test_valkey_refuses_whoever_has_no_password(running: tuple[Embedded, Stack, Path]) -> None:
    bare = "redis://" + running[1].broker_url.split("@")[1]
    with pytest.raises(redis.AuthenticationError):
        ping(bare)
    with pytest.raises(redis.AuthenticationError):
        ping(bare.replace("redis://", "redis://:guess@"))


def test_nothing_listens_beyond_this_machine(running: tuple[Embedded, Stack, Path]) -> None:
    embedded = running[0]
    assert embedded.valkey.pid
    assert embedded.postgres.pid
    listeners = psutil.Process(embedded.valkey.pid).net_connections("inet")
    assert {one.laddr.ip for one in listeners} == {"127.0.0.1"}
    assert psutil.Process(embedded.postgres.pid).net_connections("inet") == []


def test_secrets_are_private_and_not_shown(running: tuple[Embedded, Stack, Path]) -> None:
    _, stack, state_dir = running
    password = (state_dir / "valkey" / "password").read_text()
    assert len(password) > 30
    assert password not in repr(stack)
    for private in ("valkey/password", "valkey/valkey.conf"):
        assert (state_dir / private).stat().st_mode & 0o777 == 0o600
    for private in ("postgres", "postgres/data", "valkey"):
        assert (state_dir / private).stat().st_mode & 0o777 == 0o700


def test_ctrl_c_in_the_terminal_does_not_reach_the_servers(running: tuple[Embedded, Stack, Path]) -> None:
    for server in (running[0].postgres, running[0].valkey):
        assert server.pid
        assert os.getsid(server.pid) == server.pid


def test_a_second_run_on_the_same_state_is_refused(running: tuple[Embedded, Stack, Path]) -> None:
    _, stack, state_dir = running
    with pytest.raises(EmbeddedError, match=rf"^another watertight is already running on {state_dir}$"):
        Embedded(state_dir).start()
    with pytest.raises(EmbeddedError, match="already running"):
        EmbeddedPostgres(state_dir).start()
    assert ask(stack.database_url, "SELECT 1") == [(1,)]
    assert ping(stack.broker_url)


def test_a_state_lock_is_free_again_once_released(tmp_path: Path) -> None:
    first, second = StateLock(tmp_path), StateLock(tmp_path)
    first.acquire()
    with pytest.raises(EmbeddedError):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


@pytest.mark.parametrize("name", ["/".join(["deep" * 12] * 4), "a b,c'd\"e%41\\n"])
def test_state_directories_with_awkward_names(tmp_path: Path, name: str) -> None:
    state_dir = tmp_path / name
    with Embedded(state_dir) as stack:
        assert ask(stack.database_url, "SELECT current_user") == [("watertight_app",)]
        assert ping(stack.broker_url)
        assert servers_in(state_dir) == ["postgres", "valkey-server"]


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        with pytest.raises(EmbeddedError, match=rf"^port {port} on 127\.0\.0\.1 is taken by another program$"):
            EmbeddedValkey(tmp_path, port=port).start()
    assert servers_in(tmp_path) == []


def test_an_asked_port_is_used(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    with EmbeddedValkey(tmp_path, port=port) as valkey:
        assert f":{port}/" in valkey.url()
        assert ping(valkey.url())


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    with pytest.raises(EmbeddedError, match=rf"^{empty}/initdb is missing or cannot be run"):
        EmbeddedPostgres(tmp_path, programs=empty).start()
    with pytest.raises(EmbeddedError, match=rf"^{empty}/valkey-server is missing or cannot be run"):
        EmbeddedValkey(tmp_path, binary=empty / "valkey-server").start()


def test_data_of_another_postgresql_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedError, match=rf"^{data} was made by PostgreSQL 16, and this is PostgreSQL 18$"):
        EmbeddedPostgres(tmp_path).start()
    assert [file.name for file in data.iterdir()] == ["PG_VERSION"]


def test_a_state_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(EmbeddedError, match=rf"^{tmp_path}/state is not a directory$"):
        Embedded(tmp_path / "state").start()


def test_a_killed_initdb_does_no_harm(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path) as postgres:
        assert ask(postgres.url(), "SELECT 1") == [(1,)]
    assert not half.exists()


def test_servers_that_crash_are_revived_at_the_same_place(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path)
    before = embedded.start()
    try:
        ask(before.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        for server in (embedded.postgres, embedded.valkey):
            assert server.pid
            crashed = psutil.Process(server.pid)
            crashed.kill()
            crashed.wait()
            assert server.pid is None
        assert embedded.start() == before
        assert ask(before.owner_url, "SELECT answer FROM kept") == [(42,)]
        assert ping(before.broker_url)
    finally:
        embedded.stop()


def test_what_a_killed_run_left_behind_is_replaced(tmp_path: Path) -> None:
    with own_stack(tmp_path, uid=os.getuid()) as killed:
        before = first_words(killed)
        ask(before["app"].replace("watertight_app", "postgres"), "CREATE TABLE kept AS SELECT 42 AS answer")
        with redis.Redis.from_url(before["broker"]) as client:
            client.set("kept", "yes")
            client.execute_command(
                "WAITAOF", 1, 0, 2000
            )  # killed with its owner a moment later, everysec may lose the last second
        killed.kill()
    assert servers_in(tmp_path) == ["postgres", "valkey-server"]
    with Embedded(tmp_path) as stack:
        assert servers_in(tmp_path) == ["postgres", "valkey-server"]
        assert ask(stack.owner_url, "SELECT answer FROM kept") == [(42,)]
        with redis.Redis.from_url(stack.broker_url) as client:
            assert client.get("kept") == b"yes"
        with pytest.raises(redis.ConnectionError):
            ping(before["broker"])
    assert servers_in(tmp_path) == []


def test_strangers_in_the_same_folder_survive(tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir()
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path / "valkey") as stranger:
        with EmbeddedValkey(tmp_path):
            assert stranger.poll() is None
        assert stranger.poll() is None
        stranger.kill()


def test_stopping_what_never_ran_is_no_error(tmp_path: Path) -> None:
    Embedded(tmp_path).stop()
    assert list(tmp_path.iterdir()) == []


def test_an_ordinary_user_can_run_it(nobodys_dir: Path) -> None:
    with own_stack(nobodys_dir / "state", uid=NOBODY) as process:
        words = first_words(process)
        assert ping(words["broker"])
        assert ask(words["app"], "SELECT current_user") == [("watertight_app",)]
        owners = {one.username() for one in psutil.process_iter(["cwd"]) if str(nobodys_dir) in (one.info["cwd"] or "")}
        assert owners == {psutil.Process(process.pid).username()}
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert servers_in(nobodys_dir) == []


def test_a_state_directory_that_may_not_be_written_is_named(nobodys_dir: Path) -> None:
    os.chown(nobodys_dir, 0, 0)
    with own_stack(nobodys_dir / "state", uid=NOBODY) as process:
        assert first_words(process) == {"error": f"{nobodys_dir}/state is not writable for this user"}


@pytest.mark.parametrize("size", ["8m", "64k"])
def test_a_full_disk_is_named(tmp_path: Path, size: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=False).returncode
    ):
        pytest.skip("only root can mount a small disk")
    try:
        with pytest.raises(EmbeddedError, match=rf"^the disk that holds {disk}/\S+ is full$"):
            Embedded(disk / "state").start()
        assert servers_in(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_write_that_finds_the_disk_full_is_explained() -> None:
    with (
        pytest.raises(EmbeddedError, match=r"^the disk that holds /some/place is full$"),
        explained(Path("/some/place")),
    ):
        Path("/dev/full").write_text("x")


def test_ctrl_c_in_the_owner_stops_both(tmp_path: Path) -> None:
    with own_stack(tmp_path, uid=os.getuid()) as process:
        first_words(process)
        process.send_signal(signal.SIGINT)
    assert servers_in(tmp_path) == []


def test_a_server_that_is_just_dying_is_waited_for(tmp_path: Path) -> None:
    """Its socket's lock file names a process of the same account that still counts as alive."""
    with EmbeddedPostgres(tmp_path / "one") as postgres:
        lock = next(postgres._socket_folder.glob(".s.PGSQL.*.lock"))
    with EmbeddedPostgres(tmp_path / "other") as alive:
        lock.write_text(f"{alive.pid}\n{tmp_path}\n0\n5432\n\n")
        dying = threading.Timer(1.5, lock.unlink)
        dying.start()
        with EmbeddedPostgres(tmp_path / "one") as again:
            assert again.pid is not None
        dying.join()
