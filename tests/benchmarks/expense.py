"""What a piece of work costs the process that does it: CPU and memory. Needs nothing but Linux and the standard library."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")
FORGET_PEAK = "5"  # proc_pid_clear_refs(5): the peak counts anew, from what is resident now


@dataclass
class Expense:
    """CPU milliseconds of all threads, and how many MiB more than before were resident at the most."""

    cpu_ms: float = 0.0
    peak_mib: float = 0.0


@contextlib.contextmanager
def measured() -> Iterator[Expense]:
    """Filled in at the end of the block.

    Not ``ru_maxrss``: it begins with the peak of whoever started this process.
    """
    expense = Expense()
    Path("/proc/self/clear_refs").write_text(FORGET_PEAK)
    before, began = _kib("VmHWM"), time.process_time()
    yield expense
    expense.cpu_ms = (time.process_time() - began) * 1000
    expense.peak_mib = (_kib("VmHWM") - before) / 1024


def cpu_seconds(pid: int) -> float:
    """What another process has used so far, all its threads together."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def on_one_core(pid: int) -> Iterator[None]:
    """The process on a core of its own, and this one on the others, for as long as the block lasts; nothing where there is one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        yield
        return
    _pin(pid, cores[:1])
    _pin(os.getpid(), cores[1:])
    try:
        yield
    finally:
        _pin(pid, cores)
        _pin(os.getpid(), cores)


def _pin(pid: int, cores: list[int]) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # a thread that has just ended
            os.sched_setaffinity(int(thread.name), cores)


def _kib(name: str) -> int:
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
