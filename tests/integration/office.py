"""An office in one process: PostgreSQL, the vendors' emulators over HTTP, no broker, and ``watertight`` as a program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from models.base import Base
from providers.emulation import HumanAction, HumanEvent, build_app
from providers.google.emulator import GoogleEmulator
from providers.outlook.emulator import OutlookEmulator
from tests.fixtures.google.serving import service_account, serving
from tests.integration.commands import Commands
from tests.integration.test_agents_file import GOOD

MAILBOX = "dana@example.test"
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)


@dataclass
class Office:
    watertight: Commands
    outlook: OutlookEmulator
    google: GoogleEmulator
    owner: Engine

    def types(self, *, title: str = "Secret cellar") -> str:
        event = HumanEvent(start=START, end=START + timedelta(hours=1), title=title)
        return str(self.google.act(HumanAction(action="create", calendar=MAILBOX, event=event))["id"])

    def rows(self) -> dict[str, int]:
        with self.owner.connect() as connection:
            return {
                name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608
                for name in Base.metadata.tables
            }


@contextmanager
def open_office(watertight: Commands, tmp_path: Path, owner_engine: Engine) -> Iterator[Office]:
    outlook, google = OutlookEmulator(), GoogleEmulator()
    (tmp_path / "key.json").write_text(json.dumps(service_account()))
    (tmp_path / "agents.yaml").write_text(GOOD)
    with ExitStack() as stack:
        at_outlook, at_google = (stack.enter_context(serving(build_app(one))) for one in (outlook, google))
        watertight.env |= {
            "DATABASE_URL": owner_engine.url.set(username="watertight_app").render_as_string(),
            "BROKER_URL": "redis://127.0.0.1:1/0",
            "OUTLOOK_TENANT_ID": "t",
            "OUTLOOK_CLIENT_ID": "c",
            "OUTLOOK_CLIENT_SECRET": "s",
            "OUTLOOK_BASE_URL": f"{at_outlook}/v1.0",
            "OUTLOOK_LOGIN_URL": at_outlook,
            "GOOGLE_SERVICE_ACCOUNT_FILE": str(tmp_path / "key.json"),
            "GOOGLE_BASE_URL": f"{at_google}/calendar/v3",
            "GOOGLE_TOKEN_URI": f"{at_google}/token",
        }
        assert watertight("agents", "import", str(tmp_path / "agents.yaml")).out.endswith("1 agents added, 0 updated\n")
        yield Office(watertight, outlook, google, owner_engine)
