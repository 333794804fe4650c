"""``make lint`` asks here whether a package that we lock has a published vulnerability (pip-audit, the OSV database).

Where the database cannot be reached nothing is known: that is said, and is no failure of the code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements-dev.lock"  # holds every runtime package too
OPTIONS = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--timeout", "10")
UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError")
SHOWN_CHARACTERS = 2000


def main() -> int:
    """The exit code of the lint step."""
    lock = Path(sys.argv[1]) if len(sys.argv) > 1 else LOCK
    asked = _ask(lock)
    try:
        report: dict[str, Any] = json.loads(asked.stdout)
    except ValueError:
        return _say_why_not(asked.stderr)
    found = [f"{one['name']} {one['version']}: {_names(one)}" for one in report["dependencies"] if one.get("vulns")]
    skipped = [f"{one['name']}: {one['skip_reason']}" for one in report["dependencies"] if "skip_reason" in one]
    for line in [*found, *skipped]:
        sys.stderr.write(f"audit: {line}\n")
    return 1 if found or skipped else 0


def _ask(lock: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--requirement",
        str(lock),
        "--vulnerability-service",
        "osv",
        *OPTIONS,
    ]
    if url := os.environ.get("OSV_URL"):
        command += ["--osv-url", url]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def _say_why_not(said: str) -> int:
    if any(name in said for name in UNREACHABLE):
        sys.stderr.write("audit: the database of vulnerabilities cannot be reached: nothing was audited\n")
        return 0
    sys.stderr.write(f"audit: pip-audit failed: {said[-SHOWN_CHARACTERS:]}\n")
    return 1


def _names(dependency: dict[str, Any]) -> str:
    return ", ".join(
        f"{one['id']} (mended in {', '.join(one.get('fix_versions') or ['no version yet'])})"
        for one in dependency["vulns"]
    )


if __name__ == "__main__":
    sys.exit(main())
