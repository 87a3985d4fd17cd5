"""The Celery app. A message says only "task 42 may be ready"; everything else is in the row.

Each setting's reason: queue-and-database.md, 1.2.
"""

import os

from celery import Celery
from celery.signals import setup_logging, worker_init

from db.environment import broker_url
from db.errors import ConfigError
from workers.contracts import Kind
from workers.hands import Hands, open_hands

# Longer than the longest task: an unacknowledged message is delivered again after this many seconds.
VISIBILITY_S = 900

app = Celery("instructree")
app.conf.update(
    task_acks_late=True,  # unacknowledged while it runs, which also bounds what a worker holds to its slots
    worker_prefetch_multiplier=1,  # tasks are long: never sit on one that another worker could begin
    task_ignore_result=True,  # results are rows in Postgres
    task_serializer="json",
    accept_content=["json"],
    visibility_timeout=VISIBILITY_S,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_S,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "health_check_interval": 20,  # notices a half-open connection
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # the default gives up after 100
    worker_cancel_long_running_tasks_on_connection_loss=False,  # would throw away paid answers; doubles are fenced
    worker_soft_shutdown_timeout=60,
    task_default_queue=Kind.EXPAND.value,
)

_hands: list[Hands] = []


def _carry_out(task_id: int) -> None:
    _hands[0].runner.run(task_id)


# Named by hand, never by where the function lives: a message may be older than the code that reads it.
for kind in Kind:
    app.task(name=kind.value)(_carry_out)


@setup_logging.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _keep_our_logging(**_: object) -> None:
    """Celery sets up no logging where somebody listens here."""


@worker_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _open_hands(sender: object = None, **_: object) -> None:
    """Before the first message is taken, whichever way the worker was started."""
    if not _hands:
        queues = tuple(sorted(app.amqp.queues.consume_from))
        _hands.append(open_hands(queues, getattr(sender, "concurrency", None) or 1))


def queue_names(text: str) -> tuple[str, ...]:
    """The kinds in a comma-separated list. Raises ConfigError for one that does not exist."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in tuple(Kind):
            raise ConfigError(f"--queues: no queue {name!r}; there are {', '.join(Kind)}")
    return names or tuple(Kind)


def serve(queues: tuple[str, ...], slots: int) -> None:
    """Runs a worker with a pool of threads until SIGTERM, which finishes what is in hand."""
    app.conf.broker_url = broker_url()
    arguments = ["worker", "--pool=threads", f"--concurrency={slots}", f"--queues={','.join(queues)}"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
    _hands.append(open_hands(queues, slots))
    try:
        app.worker_main([*arguments, *quiet, f"--hostname=instructree-{os.getpid()}@%h"])
    finally:
        for hands in _hands:
            hands.close()
