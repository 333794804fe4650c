"""The jobs that beat fires: how often by default, and what does not happen while one is paused."""

from __future__ import annotations

from workers.settings import Settings

WITHOUT = {
    "NewAppointmentSync": "new appointments are noticed only where the vendor pushes",
    "CancellationSync": "cancellations are noticed only where the vendor pushes",
    "UpdateSync": "changes are noticed only where the vendor pushes",
    "ResumeCommits": "what waits for another try, or was lost with a worker or a message, stays undone: people may wait for an answer",
    "ReleaseHolds": "a visitor's hold that has run out keeps its time until somebody else wants it",
    "RenewSubscriptions": "push channels run out one by one and lost hints are not sent again: changes are noticed by polling only",
    "AuditDrift": "differences between the ledger and the calendars are not looked for",
    "Prune": "tables grow, and what should be forgotten is kept",
}


def default_periods(settings: Settings) -> dict[str, float]:
    """Seconds between runs, by task name."""
    return {
        "NewAppointmentSync": settings.new_every,
        "CancellationSync": settings.cancel_every,
        "UpdateSync": settings.update_every,
        "ResumeCommits": settings.resume_every,
        "ReleaseHolds": settings.release_every,
        "RenewSubscriptions": settings.renew_every,
        "Prune": settings.prune_every,
    }
