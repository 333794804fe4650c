"""The places at which a worker may die, by name. Pure.

Whatever a process has done when it passes one of these is either recorded or will be found by whoever comes next. Tests
kill real workers at every one of them (``tests/faults``); in production nobody watches, and passing costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class Boundary(StrEnum):
    """``…ING`` lies inside the transaction that the next one has committed."""

    # A proposal: claim, check, write, verify, settle
    CLAIM = "commit.claim"
    CLAIMING = "commit.claiming"
    CLAIMED = "commit.claimed"
    CHECK_READ = "commit.check_read"
    CHECKED = "commit.checked"
    WROTE = "commit.wrote"
    WRITTEN = "commit.written"
    VERIFY_READ = "commit.verify_read"
    VERIFIED = "commit.verified"
    SETTLING = "commit.settling"
    SETTLED = "commit.settled"
    # Its refusal
    UNDOING = "commit.undoing"
    UNDONE = "commit.undone"
    REFUSING = "commit.refusing"
    REFUSED = "commit.refused"
    # A step that failed, and its recovery
    FAILED = "commit.failed"
    SNOOZED = "commit.snoozed"
    RESUMING = "recovery.resuming"
    RESUMED = "recovery.resumed"
    DUE_FOUND = "recovery.due_found"
    # What people did on the master
    FOLLOW_READ = "follow.read"
    FOLLOWING = "follow.following"
    FOLLOWED = "follow.followed"
    # A following write: a copy on a mirror, the answer to a source
    COPY_CLAIMED = "copy.claimed"
    COPY_CHECKED = "copy.checked"
    COPY_WROTE = "copy.wrote"
    COPY_RECORDING = "copy.recording"
    COPY_RECORDED = "copy.recorded"
    # A repair of what the audit found
    MEND_READ = "mend.read"
    MEND_WROTE = "mend.wrote"
    MENDING = "mend.mending"
    MENDED = "mend.mended"
    # A hold that runs out
    RELEASING = "hold.releasing"
    RELEASED = "hold.released"
    # A job: read, store, cursor
    JOB_CLAIMED = "job.claimed"
    JOB_READ = "job.read"
    JOB_STORING = "job.storing"
    JOB_CURSOR = "job.cursor"
    JOB_STORED = "job.stored"


_watch: Callable[[Boundary], object] | None = None


def cross(boundary: Boundary) -> None:
    """Pass a boundary; whoever watches may end or stop the process here."""
    if _watch is not None:
        _watch(boundary)


def watch(by: Callable[[Boundary], object] | None) -> None:
    """Let ``by`` see every boundary that this process passes from now on; None: nobody."""
    global _watch  # noqa: PLW0603 - one process, one watcher: it is set once, before any work
    _watch = by


@contextmanager
def watched(by: Callable[[Boundary], object]) -> Iterator[None]:
    """The same for the length of a block."""
    watch(by)
    try:
        yield
    finally:
        watch(None)
