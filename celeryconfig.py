"""Celery's settings: data only, with a reason for each. Addresses and periods come from ``WATERTIGHT_*`` (workers/settings.py)."""

# --- Messages carry ids and JSON, nothing else (P12); a worker refuses everything it does not expect.
accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"
enable_utc = True
timezone = "UTC"

# --- Results live in our tables. What Flower shows comes with the events, not from a result backend.
task_ignore_result = True
task_track_started = True

# --- A message is acknowledged when its task has ended, so a killed worker loses nothing; every task may run twice.
task_acks_late = True
# A task that kills its worker would otherwise be redelivered for ever, and nobody would be told (measured: 21 runs in 10 s).
task_reject_on_worker_lost = False
task_acks_on_failure_or_timeout = True
worker_prefetch_multiplier = 1  # no message waits behind a slow one while another process is idle
worker_eta_task_limit = 1000  # messages with a countdown bypass the prefetch limit: bound them

# --- One queue per job, so none can stop another (P9). A misspelt queue is an error, not a queue that nobody reads.
task_default_queue = "upkeep"
# Each has an exchange and key of its own: left out, all would share the default ones, and every message reach every queue.
task_queues = {
    "new": {"exchange": "new", "binding_key": "new"},
    "cancel": {"exchange": "cancel", "binding_key": "cancel"},
    "update": {"exchange": "update", "binding_key": "update"},
    "commit": {"exchange": "commit", "binding_key": "commit"},
    "upkeep": {"exchange": "upkeep", "binding_key": "upkeep"},
}
task_create_missing_queues = False
task_routes = {
    "NewAppointmentSync": {"queue": "new"},
    "NewAppointmentSync.calendar": {"queue": "new"},
    "CancellationSync": {"queue": "cancel"},
    "CancellationSync.calendar": {"queue": "cancel"},
    "UpdateSync": {"queue": "update"},
    "UpdateSync.calendar": {"queue": "update"},
    "Commit": {"queue": "commit"},
    "ResumeCommits": {"queue": "upkeep"},
    "ReleaseHolds": {"queue": "upkeep"},
    "RenewSubscriptions": {"queue": "upkeep"},
    "AuditDrift": {"queue": "upkeep"},
    "Prune": {"queue": "upkeep"},
}

# --- Flower sees every task from "sent" on. Costs about half of the peak no-op throughput, which we are far from.
worker_send_task_events = True
task_send_sent_event = True

# --- Time limits work on the prefork pool (commit) only; thread pools ignore them, and rely on the transport's timeouts.
task_soft_time_limit = 60
task_time_limit = 80  # a commit is a handful of requests under the transport's timeouts
worker_max_tasks_per_child = 500  # a leak in a library is bounded
worker_max_memory_per_child = 300_000  # KiB

# --- The broker: Valkey or Redis. Longer waits than a minute live in the database (not_before), never in a countdown.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # an outage of any length ends by itself
visibility_timeout = 300  # more than three times the hard time limit; all clients must agree on it
# A message that could not be sent is made up for by the table or the next period, and somebody waits for the answer: with
# Celery's three retries a frozen broker held every request to the API for 26 s (measured; without: 5 s).
task_publish_retry = False
broker_transport_options = {
    "visibility_timeout": visibility_timeout,
    # kombu 5.7: look for unacknowledged messages of dead workers every 5 s; else a kill -9 costs up to 100 s more.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    # Without these, publishing hangs for as long as a frozen broker does; with them, and no retries, an error in 5 s.
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    # Whoever sends looks for the broker again after 0.1, 0.3 and 0.5 s. By default they would sleep for 6 s each time it is
    # refused (measured), beat for each of its jobs in turn; what is not sent is found in the table.
    "max_retries": 3,
    "interval_start": 0.1,
    "interval_step": 0.2,
    "interval_max": 0.5,
}

# --- Logs go through workers/observability.py.
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# --- Beat reads its table in PostgreSQL; any number of beats may run.
beat_scheduler = "workers.scheduler:PostgresScheduler"
beat_max_loop_interval = 2  # seconds until an operator's change is noticed

# --- What every worker can run; its queues (-Q) decide what it does. Only the commit worker loads the commit engine (P3):
# it is started with ``--include workers.commit``, and any other that tries is stopped (workers/walls.py).
include = [
    "workers.new_appointments",
    "workers.cancellations",
    "workers.updates",
    "workers.upkeep",
    "workers.telemetry",  # what watches the process
    "workers.watch",
]
