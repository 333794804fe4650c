"""Which Outlook events take the person's time.

The first line of the table that applies decides:

=========================================================  =====================================
``isCancelled``                                            no
``responseStatus`` declined                                no
``showAs`` free                                            no
``responseStatus`` notResponded, of somebody else's event  the agent's policy ``unanswered``
``showAs`` tentative                                       the agent's policy ``tentative``
``showAs`` workingElsewhere                                the agent's policy ``working_elsewhere``
``showAs`` busy, oof, unknown, or new to us                yes
=========================================================  =====================================

``sensitivity`` changes nothing: of a private event only the time may be shown, and it is taken. Focus time and
birthdays have no type of their own in Graph (resources/event.md): what they are shown as decides.
"""

from __future__ import annotations

from sync.domain import BusyPolicy


def blocks(
    policy: BusyPolicy, *, show_as: str, response: str | None, is_organizer: bool = False, is_cancelled: bool = False
) -> bool:
    if is_cancelled or response == "declined" or show_as == "free":
        return False
    if response == "notResponded" and not is_organizer:
        return policy.unanswered  # Outlook shows invitations as tentative until they are answered
    if show_as == "tentative":
        return policy.tentative
    return policy.working_elsewhere if show_as == "workingElsewhere" else True
