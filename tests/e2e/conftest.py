from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """One stack for all of these tests, which run in their order: starting one takes longer than most of them.

    Not in pytest's own directory: another session closes it to the server's account, and no restart would get in.
    """
    with tempfile.TemporaryDirectory(prefix="watertight-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Path(folder))
        try:
            stack.start()
            yield stack
        finally:
            stack.clean_up()
