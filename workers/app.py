"""The Celery app. A message says only "task 42 may be ready"; everything else is in the row.

Each setting's reason: queue-and-database.md, 1.2.
"""

import logging
import os
from contextlib import ExitStack
from threading import Event, Timer

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutting_down
from celery.worker.consumer import Consumer

from db import broker, exposition, rabbit, tracing
from db.broker import KEY_PREFIX
from db.environment import broker_url
from db.errors import ConfigError, ServiceError
from db.garbage import collect_rarely
from db.guard import Finding
from workers import guard, process
from workers.contracts import Kind
from workers.hands import Hands, open_hands
from workers.hearing import Amqp
from workers.llm.errors import LedgerAway
from workers.metrics import OwnFigures

log = structlog.get_logger()

# Longer than the longest task: an unacknowledged message is delivered again after this many seconds. That is a mere
# double, which finds nothing to claim: what a dead worker held is freed by its lease, long before this.
VISIBILITY_S = process.DEADLINE_S + 300

app = Celery("instructree", amqp=Amqp)
app.conf.update(
    task_acks_late=True,  # unacknowledged while it runs, which also bounds what a worker holds to its slots
    task_acks_on_failure_or_timeout=True,  # retries are the row's: attempts, delays and the cap on them are there
    task_reject_on_worker_lost=False,  # the lease frees the row of a dead worker, and the row counts its attempts
    worker_prefetch_multiplier=1,  # tasks are long: never sit on one that another worker could begin
    task_ignore_result=True,  # results are rows in Postgres
    result_backend=None,
    task_serializer="json",  # whoever can write to the broker must not be able to run code here
    result_serializer="json",
    accept_content=["json"],
    visibility_timeout=VISIBILITY_S,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_S,
        "global_keyprefix": KEY_PREFIX,
        "socket_timeout": 15,
        "socket_connect_timeout": 5,
        "health_check_interval": 10,  # a half-open connection is noticed after 1 + 2 x 10 s
        # What is in hand is not written down in Redis: it would be for a worker that dies, whose leases free its tasks
        # long before anybody may look there. That was a third of what a hint costs. What a worker may hold at once
        # is counted without it.
        "ack_emulation": False,
        "priority_steps": [0],  # hints have none: four lists a queue would be looked through for each
    },
    broker_connection_timeout=5,
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # the default gives up after 100
    broker_pool_limit=2,  # a worker publishes nothing but answers to `celery inspect`
    broker_pool_acquire_timeout=30,  # the default waits for ever
    worker_cancel_long_running_tasks_on_connection_loss=False,  # would throw away paid answers; doubles are fenced
    # Only counts for SIGQUIT, and then sleeps to its end even when all tasks have ended (measured: 61 s for tasks of
    # 6 s). SIGTERM takes no more messages and waits for those in hand.
    worker_soft_shutdown_timeout=0,
    worker_send_task_events=False,  # every number we show comes from SQL, which drops nothing
    task_default_queue=Kind.EXPAND.value,
    worker_consumer="workers.hearing:Hearing",
    worker_pool="workers.slots:Pool",  # threads, as many as there are tasks in hand
)

# How long SIGTERM may be answered with finishing what is in hand; the local stack kills after twenty seconds.
GRACE, GRACE_S = "INSTRUCTREE_GRACE_S", 15.0
EVENTS = "INSTRUCTREE_EVENTS"

_hands: list[Hands] = []
_told_to_stop = Event()


def _carry_out(task_id: object) -> None:
    """Whoever reaches the broker can write a message: nothing but a possible id goes on from here."""
    if type(task_id) is not int or not 0 < task_id < 2**63:
        log.warning("hint_refused", kind_of_argument=type(task_id).__name__)
        return
    with _hands[0].slots.one() as free:
        if free:
            _hands[0].runner.run(task_id)


# Named by hand, never by where the function lives: a message may be older than the code that reads it.
for kind in Kind:
    app.task(name=kind.value)(_carry_out)


@setup_logging.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _keep_our_logging(**_: object) -> None:
    """Celery sets up no logging where somebody listens here; what it cannot cope with is told all the same."""
    told = logging.StreamHandler()
    told.setFormatter(logging.Formatter("level=error event=celery logger=%(name)s cause=%(message)r"))
    told.setLevel(logging.ERROR)
    logging.getLogger("celery").addHandler(told)


@worker_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _open_hands(sender: object = None, **_: object) -> None:
    """Before the first message is taken, whichever way the worker was started."""
    if not _hands:
        queues = tuple(sorted(app.amqp.queues.consume_from))
        _hands.append(open_hands(queues, getattr(sender, "concurrency", None) or 1))


@worker_ready.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _fetch_as_many_as_there_are_slots(sender: Consumer, **_: object) -> None:
    """Each time it is connected to the broker."""
    for hands in _hands:
        hands.slots.heard_by(sender)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _end_in_time(**_: object) -> None:
    """Celery waits for the tasks in hand for as long as they take; whoever stops us will not."""
    _told_to_stop.set()
    for hands in _hands:
        hands.slots.close()
    timer = Timer(_grace_s(), _abandon)
    timer.daemon = True  # or a worker that has ended in time would wait for it
    timer.start()


def _abandon() -> None:
    for hands in _hands:
        hands.abandon()


def _grace_s() -> float:
    """Raises ConfigError when it is not a number of seconds."""
    told = os.environ.get(GRACE) or str(GRACE_S)
    try:
        seconds = float(told)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 86_400:
        raise ConfigError(f"{GRACE}={told!r}: expected seconds, such as {GRACE_S:g}")
    return seconds


def _events() -> list[str]:
    """Celery's own events and heartbeats, for Flower. Off by default: they cost, and what drops them is not noticed.

    Raises ConfigError when it is neither said nor denied.
    """
    told = os.environ.get(EVENTS) or "0"
    if told not in ("0", "1"):
        raise ConfigError(f"{EVENTS}={told!r}: expected 1, or nothing")
    return ["--task-events"] if told == "1" else ["--without-heartbeat"]


def queue_names(text: str) -> tuple[str, ...]:
    """The kinds in a comma-separated list. Raises ConfigError for one that does not exist."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in tuple(Kind):
            raise ConfigError(f"--queues: no queue {name!r}; there are {', '.join(Kind)}")
    return names or tuple(Kind)


def check_settings() -> Finding:
    """Raises ConfigError when the settings above break a law."""
    return guard.check_settings(app.conf, deadline_s=process.DEADLINE_S)


def line_to(url: str) -> dict[str, object]:
    """How the broker is reached; for a RabbitMQ, in place of what is said above of a Valkey."""
    return rabbit.settings(url) if rabbit.is_one(url) else {"broker_url": url, "broker_use_ssl": broker.tls(url)}


def serve(queues: tuple[str, ...], slots: int, metrics: exposition.HostPort | None = None) -> None:
    """Runs a worker with a pool of threads until SIGTERM, which finishes what is in hand.

    Raises:
        ConfigError: metrics cannot be served there.
        ServiceError: it was refused work, because it does not go with the orchestrator or the database any more.
        ServiceError: paid answers could not be written before it ended.
        ServiceError: it ended although nobody had told it to. Whoever runs it should start it anew.
    """
    check_settings()
    _grace_s()
    app.conf.update(line_to(broker_url()))
    # First: one that cannot be served must leave nothing in the register, however often it is started anew.
    served = exposition.Served(metrics) if metrics else None
    tracing.begin("worker")
    arguments = ["worker", f"--concurrency={slots}", f"--queues={','.join(queues)}", *_events()]
    quiet = ["--without-gossip", "--without-mingle", "--loglevel=WARNING"]
    _hands.append(open_hands(queues, slots))
    collect_rarely()
    try:
        if served:
            served.put(OwnFigures(_hands[0].held, _hands[0].slots))
            served.put(exposition.Connections(_hands[0].engine))
        app.worker_main([*arguments, *quiet, f"--hostname=instructree-{os.getpid()}@%h"])
    finally:
        with ExitStack() as rest:
            rest.callback(tracing.end)
            _leave()
    if refused := _hands[0].heart.refused:
        raise ServiceError(refused)
    if not _told_to_stop.is_set():
        raise ServiceError("the worker has stopped hearing hints by itself: look at its log, and start it again")


def _leave() -> None:
    for hands in _hands:
        try:
            hands.close()
        except LedgerAway as error:
            raise ServiceError(f"{error}; what asked for them asks again, and pays again") from error
