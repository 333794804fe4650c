"""Remove one guard at a time and see a test fail: ``make mutants``. A guard that nobody misses is not one.

Each mutant is a copy of the tree with one change; the tests that should notice are run on it, and at least one must fail.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "providers", "sync", "workers", "tests", "docs")
FILES = ("celeryconfig.py", "pyproject.toml", "README.md", "Makefile")
# Fences and versions only grow, so none is refused any more.
UNFENCED = (
    'update(Write).where(Write.id == bindparam("write"), Write.fence >= bindparam("held_fence"), Write.state == "due")'
)
COMMIT = "tests/integration/test_commit_"


@dataclass(frozen=True)
class Mutant:
    """``old`` stands once in ``file``. ``tests`` are those that are there for this guard."""

    guard: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "advisory lock on the agent",
        "models/session.py",
        "SELECT pg_advisory_xact_lock(:space, :agent), set_config",
        "SELECT CAST(:space AS int) + CAST(:agent AS int), set_config",
        (f"{COMMIT}races.py",),
    ),
    Mutant(
        "exclusion constraint",
        "models/migrations/versions/0001_the_first_tables.py",
        """where=sa.text("state in ('held', 'booked')")""",
        """where=sa.text("state in ('nothing')")""",
        ("tests/integration/test_models.py",),
    ),
    Mutant(
        "overlap query at the claim",
        "sync/commit/begin.py",
        "    if taken:\n        evidence = slots.taken_evidence(session, taken) | versions\n",
        "    if taken and proposal.id < 0:\n        evidence = slots.taken_evidence(session, taken) | versions\n",
        (f"{COMMIT}book.py",),
    ),
    Mutant(
        "version that the caller saw",
        "sync/commit/begin.py",
        """if versions and versions["version_now"] != versions["version_seen"]:""",
        """if versions and versions["version_now"] == -1:""",
        (f"{COMMIT}book.py",),
    ),
    Mutant(
        "version of a slot in its update",
        "sync/commit/slots.py",
        'Slot.version == bindparam("seen")',
        'Slot.version >= bindparam("seen")',
        (f"{COMMIT}guards.py",),
    ),
    Mutant(
        "live check of the master",
        "sync/commit/master.py",
        """        if evidence["events"] and order.takes_time:\n            return Blocked(Reason.MASTER_BUSY, evidence, existing""",
        """        if evidence["events"] and order.attempt < 0:\n            return Blocked(Reason.MASTER_BUSY, evidence, existing""",
        (f"{COMMIT}book.py", f"{COMMIT}holds.py"),
    ),
    Mutant(
        "verify after the write",
        "sync/commit/master.py",
        """        if evidence["events"] and self._order.takes_time:\n            return Blocked(Reason.MASTER_BUSY, evidence, own)""",
        """        if evidence["events"] and self._order.attempt < 0:\n            return Blocked(Reason.MASTER_BUSY, evidence, own)""",
        ("tests/integration/test_people_on_the_master.py",),
    ),
    Mutant(
        "fence of a step",
        "sync/commit/lease.py",
        "own = _OWN.where(",
        f"own = {UNFENCED}.where(",
        (f"{COMMIT}crashes.py", f"{COMMIT}guards.py"),
    ),
    Mutant(
        "fence of a lease that is kept",
        "sync/commit/lease.py",
        "_HOLD_ON = _OWN.values(",
        f"_HOLD_ON = {UNFENCED}.values(",
        (f"{COMMIT}guards.py", f"{COMMIT}mirror.py"),
    ),
    Mutant(
        "fence of the settlement",
        "sync/commit/lease.py",
        "_FINISH = _OWN.values(",
        f"_FINISH = {UNFENCED}.values(",
        (f"{COMMIT}guards.py",),
    ),
    Mutant(
        "a second look at what changed since we made it",
        "sync/commit/notice.py",
        "settled = as_made is not None and as_made.is_shown_by(event) and seen.get(event.remote_id) == event.version",
        "settled = as_made is not None",
        ("tests/integration/test_people_on_the_master.py", f"{COMMIT}echo.py", f"{COMMIT}mirror.py"),
    ),
    Mutant(
        "new version for what a refused move left",
        "sync/commit/engine.py",
        """            if order.phase == "checked":\n                master.outdate()\n""",
        "",
        (f"{COMMIT}guards.py",),
    ),
    Mutant(
        "key of a write, the same at every attempt",
        "sync/commit/order.py",
        "key=WriteKey(write.key)",
        'key=WriteKey(f"{write.key}{write.attempt}")',
        (f"{COMMIT}book.py", f"{COMMIT}crashes.py"),
    ),
    Mutant(
        "lease on a write in hand",
        "sync/commit/claim.py",
        "if write.leased_until is not None and write.leased_until > now:",
        "if write.leased_until is not None and write.leased_until < now - timedelta(days=9):",
        (f"{COMMIT}crashes.py", f"{COMMIT}races.py"),
    ),
    Mutant(
        "lease of a job's run",
        "sync/detect.py",
        "if row is None or row.lease != claim.lease:",
        "if row is None:",
        ("tests/integration/test_detect_jobs.py",),
    ),
    Mutant(
        "cursor in the transaction of what was read",
        "sync/detect.py",
        "            row.value, row.leased_until, row.read_at = read.cursor, None, claim.now\n",
        "            with transaction(self._sessions) as other:\n"
        "                other.execute(Cursor.__table__.update().values(value=read.cursor))\n",
        ("tests/integration/test_detect_jobs.py",),
    ),
    Mutant(
        "unique key of a proposal",
        "sync/changes.py",
        """return f"{self.calendar_id}:{self.kind}:{self.seen.version}:{self.seen.remote_id}\"""",
        """return f"{self.calendar_id}:{self.kind}:{id(self)}:{self.seen.remote_id}\"""",
        ("tests/integration/test_detect_jobs.py", f"{COMMIT}echo.py"),
    ),
    Mutant(
        "secret of a hold",
        "sync/commit/holds.py",
        "Proposal.hold == proposal.hold, Slot.agent_id",
        "Slot.agent_id",
        (f"{COMMIT}holds.py",),
    ),
    Mutant(
        "live read of the master before a copy",
        "sync/commit/copies.py",
        "        self._check()\n        cross",
        "        cross",
        (f"{COMMIT}mirror.py", f"{COMMIT}master.py"),
    ),
    Mutant(
        "both agents' locks for a hand-over",
        "sync/commit/claim.py",
        "agents.add(appointment.agent_id)",
        "agents.add(proposal.agent_id)",
        (f"{COMMIT}reassign.py",),
    ),
    Mutant(
        "secret of a push",
        "sync/pushes.py",
        "return calendar_id if hmac.compare_digest(found[2].encode(), expected.encode()) else None",
        "return calendar_id",
        ("tests/integration/test_webhooks.py",),
    ),
    Mutant(
        "a delivery counts once",
        "sync/hints.py",
        "for push, calendar_id in found if push.key in fresh]",
        "for push, calendar_id in found]",
        ("tests/integration/test_hints.py", "tests/integration/test_webhooks.py"),
    ),
    Mutant(
        "age of a signature",
        "providers/received.py",
        "return abs((now - stamp).total_seconds()) <= seconds",
        "return True",
        ("tests/unit/test_hooks.py", "tests/integration/test_webhooks.py"),
    ),
    Mutant(
        "scope of a token",
        "workers/web/auth.py",
        "return self.token is None or scope in self.token.scopes",
        "return True",
        ("tests/integration/test_api.py", "tests/integration/test_tokens.py"),
    ),
    Mutant(
        "drift is what is found twice",
        "sync/audits.py",
        """"confirmed": now - since >= self._confirm""",
        """"confirmed": True""",
        ("tests/integration/test_audit_drift.py",),
    ),
    Mutant(
        "a repair gives way to whoever changed the event",
        "sync/commit/mend.py",
        "if (event.version if event is not None else None) != order.version:",
        "if event is None and order.version is not None:",
        ("tests/integration/test_audit_drift.py",),
    ),
    Mutant(
        "brake before repairs",
        "sync/audits.py",
        "if at_most is None and brake.stops(",
        "if at_most == 0 and brake.stops(",
        ("tests/integration/test_audit_drift.py",),
    ),
    Mutant(
        "token in a form of the console",
        "workers/web/console/door.py",
        "hmac.compare_digest(told, token_for(secret).encode())",
        "bool(token_for(secret))",
        ("tests/integration/test_console_door.py",),
    ),
    Mutant(
        "one dead letter is replayed once",
        "workers/replay.py",
        """return letter is not None and letter.state == "open\"""",
        "return letter is not None",
        ("tests/integration/test_replay.py",),
    ),
)


def main() -> int:
    """0 if every mutant was noticed."""
    words = sys.argv[1:] or [""]
    chosen = [mutant for mutant in MUTANTS if any(word in mutant.guard for word in words)]
    missed = 0
    for mutant in chosen:
        began = time.monotonic()
        failed = hunt(mutant)
        missed += not failed
        first = failed[0].partition(" ")[2].partition(" - ")[0] if failed else "NOBODY NOTICED"
        sys.stdout.write(f"{mutant.guard:<46} {time.monotonic() - began:4.0f} s  {first}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - missed} of {len(chosen)} guards are missed when they are gone\n")
    return min(missed, 1)


def hunt(mutant: Mutant) -> list[str]:
    """pytest's lines about the first tests that failed on the mutant."""
    with tempfile.TemporaryDirectory(prefix="watertight-mutant-") as folder:
        tree = Path(folder)
        tree.chmod(0o755)
        for package in PACKAGES:
            shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file in FILES:
            shutil.copy(ROOT / file, tree / file)
        target = tree / mutant.file
        text = target.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            raise SystemExit(f"{mutant.guard}: {mutant.file} has changed; the mutant no longer fits")
        target.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-n", "2", "-x", "-q", "--no-header", "-rfE", *mutant.tests]
        result = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if result.returncode and not lines:
        raise SystemExit(f"{mutant.guard}: pytest could not run\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
