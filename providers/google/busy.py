"""Which Google events take the person's time.

The first line of the table that applies decides:

====================================================  =====================================
``status`` cancelled                                  no: it is not an event any more
``eventType`` workingLocation, birthday               no: it says where, or what day it is
the person declined                                   no
``transparency`` transparent                          no
the person has not answered (needsAction)             the agent's policy ``unanswered``
the person answered tentative, ``status`` tentative   the agent's policy ``tentative``
``eventType`` focusTime                               the agent's policy ``focus_time``
``eventType`` outOfOffice, default, fromGmail         yes
a type that is new to us                              yes
====================================================  =====================================

``visibility`` changes nothing: of a private event only the time may be shown, and it is taken. Google has no "working
elsewhere": a working location lasts all day and means the office as well. Who organises an event need not answer it.

Source: Event.eventType, Event.transparency and Event.attendees in ``calendar.v3.json`` revision 20261030.
"""

from __future__ import annotations

from sync.domain import BusyPolicy

_NEVER = frozenset({"workingLocation", "birthday"})


def blocks(policy: BusyPolicy, *, event_type: str, status: str, transparency: str, answer: str | None) -> bool:
    """``answer`` is the person's own, None where nobody asked: no guests, or the person is the organizer."""
    if event_type in _NEVER or answer == "declined" or transparency == "transparent":
        return False
    if answer == "needsAction":
        return policy.unanswered
    if "tentative" in (answer, status):
        return policy.tentative
    return policy.focus_time if event_type == "focusTime" else True
