"""What may be left in nobody's hands once all work is done: counts that must be nought (P1, P4, P5)."""

from __future__ import annotations

LEFTOVERS = {
    "overlapping live slots": "SELECT count(*) FROM slots a JOIN slots b ON a.agent_id = b.agent_id AND a.id < b.id"
    " AND a.during && b.during AND a.state IN ('held', 'booked') AND b.state IN ('held', 'booked')"
    " WHERE a.agent_id = ANY(:agents)",
    "held slots": "SELECT count(*) FROM slots WHERE agent_id = ANY(:agents) AND state = 'held' AND held_by IS NULL",
    "slots without an appointment": "SELECT count(*) FROM slots s WHERE s.agent_id = ANY(:agents) AND s.state = 'booked'"
    " AND NOT EXISTS (SELECT FROM appointments a WHERE a.slot_id = s.id AND a.state = 'confirmed'"
    " AND tstzrange(a.starts_at, a.ends_at) = s.during)",
    "due writes": "SELECT count(*) FROM writes WHERE agent_id = ANY(:agents) AND state = 'due'",
    "leases": "SELECT (SELECT count(*) FROM writes WHERE agent_id = ANY(:agents) AND leased_until IS NOT NULL)"
    " + (SELECT count(*) FROM cursors r JOIN calendars c ON c.id = r.calendar_id"
    " WHERE c.agent_id = ANY(:agents) AND r.leased_until IS NOT NULL)",
    "undecided proposals": "SELECT count(*) FROM proposals WHERE agent_id = ANY(:agents) AND"
    " (state NOT IN ('settled', 'refused') OR decided_at IS NULL)",
    "proposals decided twice": "SELECT count(*) FROM (SELECT FROM decisions d JOIN proposals p ON p.id = d.proposal_id"
    " WHERE p.agent_id = ANY(:agents) GROUP BY p.id HAVING count(*) > 1) AS twice",
    "changes proposed twice": "SELECT count(*) FROM (SELECT FROM proposals WHERE agent_id = ANY(:agents)"
    " GROUP BY kind, calendar_id, remote_id, remote_version HAVING count(*) > 1 AND calendar_id IS NOT NULL) AS twice",
}
