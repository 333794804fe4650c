"""Every implementation of the calendar ports. A new one is held to the whole contract by one entry here."""

from __future__ import annotations

from tests.contract.ports_calcom import CALCOM
from tests.contract.ports_google import GOOGLE
from tests.contract.ports_hubspot import HUBSPOT
from tests.contract.ports_memory import MEMORY
from tests.contract.ports_outlook import OUTLOOK

IMPLEMENTATIONS = (MEMORY, OUTLOOK, GOOGLE, HUBSPOT, CALCOM)
