from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from workers import emulate
from workers.programs import answers
from workers.supervisor import MARK, RECORD, Backoff, NotReady, Program, Supervisor, stop_leftovers, until

ROOT = Path(__file__).parents[2]
QUICK = Backoff(first=0.05, longest=0.2, steady=60)
SLEEPS = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
DEAF_WITH_CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {DEAF!r}]); {DEAF}"
# argv: state directory, then the programs of its children
SUPERVISES = """
import sys
from pathlib import Path
from workers.supervisor import Program, Supervisor
children = [Program(str(n), (sys.executable, "-c", code), {}) for n, code in enumerate(sys.argv[2:])]
with Supervisor(children, state_dir=Path(sys.argv[1]), log=lambda name, line: print(line, flush=True)) as supervisor:
    print("pids", *supervisor.pids().values(), flush=True)
    sys.stdin.read()
"""


class Lines:
    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.all.append((name, line))

    def of(self, name: str) -> list[str]:
        return [line for one, line in self.all if one == name]


def python(name: str, code: str, *, ready: Callable[[], bool] | None = None) -> Program:
    return Program(name, (sys.executable, "-c", code), {"PYTHONUNBUFFERED": "1"}, ready)


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def marked(state_dir: Path) -> set[int]:
    """Every living process of a supervisor of this state directory."""
    everybody = psutil.process_iter(["environ"])
    return {
        one.pid for one in everybody if (one.info["environ"] or {}).get(MARK) == str(state_dir) and is_running(one.pid)
    }


def test_lines_carry_the_name_of_their_program(tmp_path: Path) -> None:
    log = Lines()
    programs = [
        python("first", f"import sys; print('out'); print('err', file=sys.stderr); {SLEEPS}"),
        python("second", rf"import sys; sys.stdout.buffer.write(b'\xff odd\n'); {SLEEPS}"),
    ]
    with Supervisor(programs, state_dir=tmp_path, log=log):
        assert until(lambda: len(log.all) == 3, seconds=10)
    assert sorted(log.of("first")) == ["err", "out"]
    assert log.of("second") == ["\N{REPLACEMENT CHARACTER} odd"]


def test_env_is_laid_over_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "ours")
    log = Lines()
    program = Program(
        "env",
        (sys.executable, "-c", f"import os; print(os.environ['OURS'], os.environ['MINE'], flush=True); {SLEEPS}"),
        {"MINE": "mine"},
    )
    with Supervisor([program], state_dir=tmp_path, log=log):
        assert until(lambda: log.of("env") == ["ours mine"], seconds=10)


def test_a_dead_child_is_started_again_and_the_log_says_why(tmp_path: Path) -> None:
    log = Lines()
    with Supervisor(
        [python("lives", SLEEPS), python("dies", SLEEPS)], state_dir=tmp_path, log=log, backoff=QUICK
    ) as supervisor:
        before = supervisor.pids()
        os.kill(before["dies"], signal.SIGKILL)
        assert until(lambda: supervisor.pids().get("dies", before["dies"]) != before["dies"], seconds=10)
        assert supervisor.pids()["lives"] == before["lives"]
    assert [line.split(" after ")[0] for line in log.of("dies")] == ["ended with signal 9 (Killed)"]
    assert log.of("dies")[0].endswith("; starting again in 0.05 s")
    assert log.of("lives") == []


def test_what_a_dead_child_leaves_of_its_session_dies_before_the_next_start(tmp_path: Path) -> None:
    with Supervisor(
        [python("parent", DEAF_WITH_CHILD)], state_dir=tmp_path, log=Lines(), backoff=QUICK, grace=0.1
    ) as supervisor:
        assert until(lambda: len(marked(tmp_path)) == 2, seconds=10)
        family = marked(tmp_path)
        os.kill(supervisor.pids()["parent"], signal.SIGKILL)
        assert until(lambda: len(marked(tmp_path) - family) == 2, seconds=10)
        assert not any(map(is_running, family))


def test_waits_grow_and_are_forgotten() -> None:
    backoff = Backoff()
    wait = backoff.after(None, uptime=0.0)
    waits = [wait, *(wait := backoff.after(wait, uptime=1.0) for _ in range(6))]
    assert waits == [0.5, 1, 2, 4, 8, 10, 10]
    assert backoff.after(10.0, uptime=60.0) == 0.5


def test_wait_ready_returns_once_all_are_ready(tmp_path: Path) -> None:
    sign = tmp_path / "ready"
    program = python(
        "slow",
        f"import pathlib, time; time.sleep(0.2); pathlib.Path({str(sign)!r}).touch(); {SLEEPS}",
        ready=sign.exists,
    )
    with Supervisor([python("plain", SLEEPS), program], state_dir=tmp_path, log=Lines()) as supervisor:
        supervisor.wait_ready(20)
        assert sign.exists()


def test_not_ready_tells_the_program_and_its_last_lines(tmp_path: Path) -> None:
    code = f"for n in range(30): print('line', n, flush=True)\n{SLEEPS}"
    log = Lines()
    with Supervisor([python("mute", code, ready=lambda: False)], state_dir=tmp_path, log=log) as supervisor:
        assert until(lambda: len(log.all) == 30, seconds=10)
        with pytest.raises(NotReady) as caught:
            supervisor.wait_ready(0.1)
    assert caught.value.name == "mute"
    assert caught.value.lines == tuple(f"line {n}" for n in range(10, 30))
    assert str(caught.value).startswith("mute was not ready within 0.1 s; its last lines:\nline 10\n")


def test_a_program_that_keeps_ending_is_not_waited_for(tmp_path: Path) -> None:
    programs = [python("broken", "raise SystemExit('no such setting')", ready=lambda: False)]
    with Supervisor(programs, state_dir=tmp_path, log=Lines(), backoff=QUICK) as supervisor:
        begun = time.monotonic()
        with pytest.raises(
            NotReady, match=r"(?s)^broken keeps ending; .*no such setting\nended with exit code 1 after"
        ):
            supervisor.wait_ready(60)
        assert time.monotonic() - begun < 30


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with (
        Supervisor(
            [Program("absent", ("/no/such/program",), {}, lambda: False)],
            state_dir=tmp_path,
            log=Lines(),
            backoff=QUICK,
        ) as supervisor,
        pytest.raises(NotReady, match="/no/such/program cannot be run: No such file or directory"),
    ):
        supervisor.wait_ready(30)


def test_children_stop_in_reverse_order(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: (print(time.monotonic_ns()), exit())); print(0); time.sleep(60)"
    log = Lines()
    supervisor = Supervisor([python("worker", code), python("beat", code)], state_dir=tmp_path, log=log)
    supervisor.start()
    assert until(lambda: len(log.all) == 2, seconds=10)
    pids = supervisor.pids()
    supervisor.stop()
    assert not any(map(is_running, pids.values()))
    assert len(log.of("worker")) == len(log.of("beat")) == 2
    assert supervisor.pids() == {}
    assert not (tmp_path / RECORD).exists()


def test_stop_kills_a_child_that_ignores_sigterm_and_its_children(tmp_path: Path) -> None:
    log = Lines()
    supervisor = Supervisor([python("deaf", DEAF_WITH_CHILD)], state_dir=tmp_path, log=log, grace=0.3)
    supervisor.start()
    assert until(lambda: len(log.all) == 2, seconds=10)
    assert len(marked(tmp_path)) == 2
    supervisor.stop()
    assert marked(tmp_path) == set()


def test_a_log_that_fails_does_not_block_the_child(tmp_path: Path) -> None:
    def broken(_name: str, _line: str) -> None:
        raise BrokenPipeError

    sign = tmp_path / "written"
    code = f"import pathlib; print('x' * 80 + '\\n', end='', flush=True) or [print('x' * 80) for _ in range(5000)]; pathlib.Path({str(sign)!r}).touch(); {SLEEPS}"
    with Supervisor([python("chatty", code, ready=sign.exists)], state_dir=tmp_path, log=broken) as supervisor:
        supervisor.wait_ready(20)


def test_stop_before_start_and_twice_is_no_error(tmp_path: Path) -> None:
    Supervisor([python("never", SLEEPS)], state_dir=tmp_path, log=Lines()).stop()
    supervisor = Supervisor([python("once", SLEEPS)], state_dir=tmp_path, log=Lines())
    supervisor.start()
    supervisor.stop()
    supervisor.stop()
    assert marked(tmp_path) == set()


def killed_supervisor(state_dir: Path, *codes: str) -> set[int]:
    """The children's process ids, after SIGKILL of their supervisor."""
    command = [sys.executable, "-c", SUPERVISES, str(state_dir), *codes]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        words: list[str] = []
        deaf = "".join(codes).count("SIG_IGN")
        while "pids" not in words or words.count("deaf") < deaf:
            words += process.stdout.readline().split()
        process.kill()
    return {int(word) for word in words if word.isdigit()}


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels know no death signal")
def test_the_kernel_ends_children_of_a_killed_supervisor(tmp_path: Path) -> None:
    pids = killed_supervisor(tmp_path, SLEEPS, SLEEPS)
    assert len(pids) == 2
    assert until(lambda: not any(map(is_running, pids)), seconds=10)


def test_deaf_leftovers_of_a_killed_supervisor_are_ended_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.supervisor.end_processes.__kwdefaults__", {"seconds": 0.3})
    killed_supervisor(tmp_path, DEAF_WITH_CHILD)
    assert until(lambda: len(marked(tmp_path)) == 2, seconds=5)
    stop_leftovers(tmp_path)
    assert marked(tmp_path) == set()
    assert not (tmp_path / RECORD).exists()


def test_a_stranger_who_got_a_recorded_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / RECORD).write_text(f'[{{"name": "web", "pid": {stranger.pid}, "created": 1.0}}]')
        stop_leftovers(tmp_path)
        assert stranger.poll() is None
        stranger.kill()


def test_no_leftovers_is_no_error(tmp_path: Path) -> None:
    stop_leftovers(tmp_path)
    (tmp_path / RECORD).write_text("half a rec")
    stop_leftovers(tmp_path)


def test_an_emulator_is_served_and_stopped(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from workers.emulate import serve;"
        f"serve('google', port=0, journal=Path({str(tmp_path)!r}) / 'journal', announce=lambda url: print(url, flush=True))"
    )
    log = Lines()
    program = Program("google", (sys.executable, "-c", code), {"PYTHONPATH": str(ROOT)})
    with Supervisor([program], state_dir=tmp_path, log=log):
        assert until(lambda: bool(log.all), seconds=30), "no address"
        url = log.of("google")[0]
        with urllib.request.urlopen(f"{url}/_control/requests", timeout=10) as answer:  # noqa: S310
            assert answer.status == 200
    assert log.of("google") == [url]


@pytest.mark.parametrize(
    ("provider", "host", "words"),
    [("exchange", "127.0.0.1", "known are outlook, google"), ("google", "0.0.0.0", "only listen on this machine")],  # noqa: S104
)
def test_an_emulator_that_must_not_be_served(provider: str, host: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        emulate.serve(provider, port=0, journal=None, host=host)


def test_an_emulator_names_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"^port {port} on 127\.0\.0\.1 cannot be used: Address already in use$"):
            emulate.serve("google", port=port, journal=None)


def test_an_address_that_accepts_and_says_nothing_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not answers(f"http://127.0.0.1:{silent.getsockname()[1]}")()
