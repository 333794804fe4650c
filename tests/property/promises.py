"""The promises as an onlooker sees them: by the rows in the database and the events in the calendars, nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync.domain import Interval, RemoteEvent
from tests.property.calendars import Act, Trespass, WatchedCalendar
from tests.property.world import World

NEVER_A_VERSION = 999

BROKEN = """
SELECT 'P1: live slots overlap', a.id, b.id FROM slots a JOIN slots b ON a.id < b.id AND a.agent_id = b.agent_id
  AND a.during && b.during WHERE a.state <> 'free' AND b.state <> 'free'
UNION ALL
SELECT 'P1: an appointment''s slot is not booked for its time', p.id, s.id FROM appointments p JOIN slots s ON s.id = p.slot_id
  WHERE p.state = 'confirmed' AND (s.state <> 'booked' OR s.agent_id <> p.agent_id OR NOT s.during @> tstzrange(p.starts_at, p.ends_at)
    OR (s.during <> tstzrange(p.starts_at, p.ends_at) AND NOT EXISTS (
      SELECT FROM writes w WHERE w.slot_id = s.id AND w.state = 'due' AND w.action = 'update')))
UNION ALL
SELECT 'P1: two appointments share a slot', min(id), max(id) FROM appointments
  WHERE state = 'confirmed' AND slot_id IS NOT NULL GROUP BY slot_id HAVING count(*) > 1
UNION ALL
SELECT 'P1: a slot is held for nobody', s.id, NULL FROM slots s WHERE s.state = 'held'
  AND s.held_by IS NULL AND NOT EXISTS (SELECT FROM writes w WHERE w.slot_id = s.id AND w.state = 'due')
UNION ALL
SELECT 'P1: a slot is held for no accepted hold', s.id, s.held_by FROM slots s LEFT JOIN decisions d ON d.proposal_id = s.held_by
  WHERE s.held_by IS NOT NULL AND d.accepted IS NOT TRUE
UNION ALL
SELECT 'P1: an appointment of one agent has another one''s slot', a.id, s.id FROM appointments a JOIN slots s ON s.id = a.slot_id
  WHERE a.state = 'confirmed' AND s.agent_id <> a.agent_id
UNION ALL
SELECT 'P1: a slot is booked for nobody', s.id, NULL FROM slots s WHERE s.state = 'booked'
  AND NOT EXISTS (SELECT FROM appointments p WHERE p.slot_id = s.id AND p.state = 'confirmed')
UNION ALL
SELECT 'P4: decided more than once', proposal_id, count(*) FROM decisions GROUP BY proposal_id HAVING count(*) > 1
UNION ALL
SELECT 'P4: state and decision disagree', p.id, d.id FROM proposals p LEFT JOIN decisions d ON d.proposal_id = p.id
  WHERE (p.state IN ('settled', 'refused')) <> (d.id IS NOT NULL) OR (d.id IS NOT NULL AND d.accepted <> (p.state = 'settled'))
UNION ALL
SELECT 'P4: confirmed without a yes', a.id, a.proposal_id FROM appointments a LEFT JOIN decisions d ON d.proposal_id = a.proposal_id
  WHERE d.accepted IS NOT TRUE
UNION ALL
SELECT 'P4: a yes without an appointment', p.id, NULL FROM proposals p JOIN decisions d ON d.proposal_id = p.id
  WHERE d.accepted AND d.reason = 'accepted' AND p.kind = 'book'
    AND (SELECT count(*) FROM appointments a WHERE a.proposal_id = p.id) <> 1
UNION ALL
SELECT 'P4: said yes to a version that never was', p.id, NULL FROM proposals p JOIN decisions d ON d.proposal_id = p.id
  WHERE d.accepted AND p.kind IN ('book', 'hold') AND p.slot_version = %(never)s
UNION ALL
SELECT 'P4: decided while its write is open', p.id, w.id FROM proposals p JOIN writes w ON w.proposal_id = p.id
  WHERE p.state IN ('settled', 'refused') AND w.state = 'due' AND w.action IN ('create', 'update', 'delete', 'hold')
"""
NUMBERS = """
SELECT 'slot', id, version, state || during::text FROM slots
UNION ALL SELECT 'fence', id, fence, '' FROM writes
UNION ALL SELECT 'lease', calendar_id * 1000 + ascii(job), lease, '' FROM cursors
UNION ALL SELECT 'decision', id, 0, proposal_id::text || accepted || reason || coalesce(appointment_id, 0) FROM decisions
UNION ALL SELECT 'appointment', id, version, concat(starts_at, ends_at, title, state) FROM appointments
"""
OPEN = """
SELECT 'held slot', id FROM slots WHERE state = 'held'
UNION ALL SELECT 'open proposal', id FROM proposals WHERE state NOT IN ('settled', 'refused')
UNION ALL SELECT 'due write', id FROM writes WHERE state = 'due'
"""


@dataclass
class Promises:
    """Judges one world, step after step."""

    world: World
    numbers: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)

    def check_step(self) -> None:
        """What holds after every step, whatever has just died."""
        broken = [*self.world.watch.broken, *self._by_query(), *self._by_growth(), *self._unknown_keys()]
        broken += [*self._booked_over_people(), *self._touched_peoples_events()]
        assert not broken, "\n".join(broken)

    def check_quiet(self) -> None:
        """P2: nothing is open, and every calendar shows the ledger's appointments once each."""
        left = self.world.stage.rows(OPEN)
        assert not left, left
        for plan in self.world.plans:
            rows = self.world.stage.rows(
                "SELECT starts_at, ends_at, title FROM appointments WHERE agent_id = %(agent)s AND state = 'confirmed'",
                agent=self.world.agents[plan.slug],
            )
            booked = [(Interval(start, end), title) for start, end, title in rows]
            for calendar in self.world.calendars.all():
                if calendar.name.startswith(f"{plan.slug}-"):
                    self._check_shows(calendar, booked)
        self._check_copies()

    def _by_query(self) -> list[str]:
        return [f"{what}: {one}, {other}" for what, one, other in self.world.stage.rows(BROKEN, never=NEVER_A_VERSION)]

    def _by_growth(self) -> list[str]:
        """Fences, leases and versions only grow, and nothing changes under the same number; decisions stay for ever."""
        before, broken = self.numbers, []
        self.numbers = {(kind, row_id): (number, text) for kind, row_id, number, text in self.world.stage.rows(NUMBERS)}
        for key, (number, text) in before.items():
            now = self.numbers.get(key)
            if now is None or now[0] < number or (now[0] == number and now[1] != text):
                broken.append(f"{key} went from {number} {text} to {now}")
        return broken

    def _unknown_keys(self) -> list[str]:
        """Every event that we made has its row in the outbox, written down before the vendor was asked."""
        made = [
            (event.key, calendar.name)
            for calendar in self.world.calendars.all()
            for event in calendar.events()
            if calendar.made_by_us(event.remote_id)
        ]
        known = {row[0] for row in self.world.stage.rows("SELECT key FROM writes")} if made else set()
        # A key that was refused is replaced: by then no event has it, or a person took it out of the bin and it is theirs.
        return [f"P2: {name} has an event of ours that no write knows: {key}" for key, name in made if key not in known]

    def _booked_over_people(self) -> list[str]:
        """P1, P3: a yes, although a person's event stood there before our write had returned, and stands there still."""
        broken, waiting = [], []
        for act in self.world.watch.acts:
            state = self._state_of(act)
            if state == "due":
                waiting.append(act)
            elif state == "done":
                broken += [
                    f"booked over {self._name(act, other)}" for other in act.blockers if self._stands(act, other)
                ]
        self.world.watch.acts = waiting
        return broken

    def _state_of(self, act: Act) -> str:
        rows = self.world.stage.rows(
            "SELECT w.state FROM writes w WHERE w.calendar_id = %(calendar)s AND (w.key = %(key)s OR"
            " (%(key)s::text IS NULL AND w.action = 'update' AND w.remote_id = %(remote_id)s)) ORDER BY w.id DESC LIMIT 1",
            calendar=self.world.ids[act.calendar],
            key=act.key,
            remote_id=act.remote_id,
        )
        return str(rows[0][0]) if rows else ""

    def _stands(self, act: Act, other: RemoteEvent) -> bool:
        return self.world.calendars.of(act.calendar).live(other.remote_id) == other

    def _name(self, act: Act, other: RemoteEvent) -> str:
        return f"{other.remote_id} {other.interval} with {act.remote_id}"

    def _touched_peoples_events(self) -> list[str]:
        found, self.world.watch.trespasses = self.world.watch.trespasses, []
        return [f"{one.what} a person's event {one.remote_id}" for one in found if not self._may(one)]

    def _may(self, trespass: Trespass) -> bool:
        """Deleting: on the master when the copy was deleted, elsewhere by its owner's setting. Moving: what carries ours."""
        calendar_id = self.world.ids[trespass.calendar]
        action = "delete" if trespass.what == "deleted" else "update"
        query = """
            SELECT FROM writes w WHERE w.calendar_id = %(calendar)s AND w.remote_id = %(remote_id)s AND w.action = %(action)s
            UNION ALL SELECT FROM remote_links l WHERE l.calendar_id = %(calendar)s AND l.remote_id = %(remote_id)s
              AND %(action)s = 'update'
            UNION ALL SELECT FROM calendars c WHERE c.id = %(calendar)s AND c.on_refusal = %(action)s AND c.role = 'mirror'
        """
        return bool(self.world.stage.rows(query, calendar=calendar_id, remote_id=trespass.remote_id, action=action))

    def _check_shows(self, calendar: WatchedCalendar, booked: list[tuple[Interval, str]]) -> None:
        [(shows, on_refusal)] = self.world.stage.rows(
            "SELECT shows, on_refusal FROM calendars WHERE id = %(calendar)s", calendar=self.world.ids[calendar.name]
        )
        carried = self._carriers(calendar)
        busy = [event for event in calendar.events() if event.blocks]
        if on_refusal == "leave":
            busy = [event for event in busy if event.remote_id in carried or calendar.made_by_us(event.remote_id)]
        expected = Counter(_told(interval, title, shows=shows) for interval, title in booked)
        found = Counter(_told(event.interval, event.title, shows=shows) for event in busy)
        assert found == expected, (
            f"P2: {calendar.name} shows {_texts(found - expected)}, lacks {_texts(expected - found)}"
        )

    def _carriers(self, calendar: WatchedCalendar) -> set[str]:
        query = """
            SELECT l.remote_id FROM remote_links l JOIN appointments a ON a.id = l.appointment_id
            JOIN calendars c ON c.id = l.calendar_id
            WHERE c.id = %(calendar)s AND NOT l.gone AND a.state = 'confirmed' AND a.agent_id = c.agent_id
        """
        return {row[0] for row in self.world.stage.rows(query, calendar=self.world.ids[calendar.name])}

    def _check_copies(self) -> None:
        """Nothing of ours takes time anywhere without a living appointment that knows it.

        A copy that a person set free, and with it cancelled the appointment, stays as the person left it: it is not judged.
        """
        for calendar in self.world.calendars.all():
            carried = self._carriers(calendar)
            unknown = [
                event
                for event in calendar.events()
                if event.blocks and calendar.made_by_us(event.remote_id) and event.remote_id not in carried
            ]
            assert not unknown, f"P2: {calendar.name} has strays: {unknown}"


def _told(interval: Interval, title: str, *, shows: str) -> tuple[datetime, datetime, str]:
    return interval.start, interval.end, title if shows == "title" else ""


def _texts(counter: Counter[tuple[datetime, datetime, str]]) -> list[Any]:
    return [(f"{start:%H:%M}-{end:%H:%M}", title) for start, end, title in counter.elements()]
