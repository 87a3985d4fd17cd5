"""Carries out what the plan says, and notes what was in flight when it hit."""

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from uuid import uuid4

import psycopg2
from sqlalchemy.engine import make_url

from db import broker
from db.broker import KEY_PREFIX
from orchestrator.hints import Hints
from tests.chaos.plan import Act, Deed
from tests.chaos.programs import Part, Program
from tests.chaos.site import Site
from workers.contracts import Kind

_SERVERS = (Part.POSTGRES, Part.VALKEY)
_DOWN_S = (0.1, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A kill or a pause: when (monotonic), what, and the calls that were in flight then."""

    at: float
    what: str
    part: Part
    killed: bool
    in_flight: int


@dataclass(slots=True, kw_only=True)
class Saboteur:
    """Does the deeds of a plan to one site. What takes long happens on threads; `settle` waits for them."""

    site: Site
    say: Callable[[str], None]
    hits: list[Hit] = field(default_factory=list)
    missed: int = 0
    _busy: set[Part] = field(default_factory=set)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(32))
    _futures: list["Future[None]"] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return sum(hit.killed for hit in self.hits)

    @property
    def in_flight(self) -> int:
        return sum(hit.in_flight for hit in self.hits)

    def do(self, act: Act) -> bool:
        """Whether there was anything to do it to just now."""
        if act.part in _SERVERS and act.deed in (Deed.KILL, Deed.PAUSE):
            return self._hit_server(act)
        if act.deed in (Deed.WIPE, Deed.FLOOD, Deed.HOLD):
            self._later({Deed.WIPE: self._wipe, Deed.FLOOD: self._flood, Deed.HOLD: self._hold}[act.deed], act)
            return True
        return self._hit_program(act)

    def look(self) -> None:
        """Raises what went wrong on a thread."""
        for future in [future for future in self._futures if future.done()]:
            self._futures.remove(future)
            future.result()

    def settle(self, patience_s: float = 90.0) -> None:
        """Waits until nothing is paused, held or being started."""
        deadline = time.monotonic() + patience_s
        while self._futures:
            self.look()
            self.site.supervisor.look(time.monotonic())
            if time.monotonic() >= deadline:
                raise TimeoutError(f"not within {patience_s:.0f} s: nothing is paused or away any more ({self._busy})")
            time.sleep(0.05)

    def _later(self, work: Callable[[Act], None], act: Act) -> None:
        self._futures.append(self._pool.submit(work, act))

    def close(self) -> None:
        """Forgets what has not begun; whoever is asleep on a thread is waited for."""
        self._pool.shutdown(cancel_futures=True)

    def _note(self, what: str, part: Part, in_flight: int, *, killed: bool) -> None:
        self.hits.append(Hit(at=time.monotonic(), what=what, part=part, killed=killed, in_flight=in_flight))
        self.say(f"{what}, {in_flight} calls in flight")

    # -- programs of ours, which the supervisor starts again

    def _hit_program(self, act: Act) -> bool:
        there = self.site.supervisor.of(act.part)
        if not there:
            return False
        victim = there[int(act.lot * len(there))]
        if act.deed is Deed.TERM:
            self.say(f"SIGTERM {victim.name}")
            victim.send(signal.SIGTERM)
            return True
        in_flight = self._freeze(victim)
        if act.deed is Deed.KILL:
            victim.send(signal.SIGKILL)
            self._note(f"kill -9 {victim.name}", act.part, in_flight, killed=True)
            return True
        self._note(f"pause {victim.name} for {act.seconds:.1f} s", act.part, in_flight, killed=False)
        # On a thread: this one may be waiting for an answer of what it has stopped.
        self._later(lambda act: _wake(victim, act.seconds), act)
        return True

    def _freeze(self, victim: Program) -> int:
        """Stops it, and counts what is in flight: nothing that an orchestrator does is a call."""
        asked = self.site.asked() if victim.part is Part.ENDPOINT else 0  # stopped it could not be asked
        victim.send(signal.SIGSTOP)
        victim.paused = True
        return self.site.in_flight(victim) if victim.part is Part.WORKER else asked

    # -- servers

    def _hit_server(self, act: Act) -> bool:
        if act.part in self._busy:
            return False
        self._busy.add(act.part)
        # Calls do not pass through the broker.
        in_flight = max(self.site.in_flight(), self.site.asked()) if act.part is Part.POSTGRES else 0
        if act.deed is Deed.PAUSE:
            self.site.signal_server(act.part, signal.SIGSTOP)
            self._note(f"pause {act.part} for {act.seconds:.1f} s", act.part, in_flight, killed=False)
            self._later(self._wake_server, act)
            return True
        count = self.site.signal_server(act.part, signal.SIGKILL)
        self._note(f"kill -9 {act.part}, {count} processes", act.part, in_flight, killed=True)
        self._later(self._restart, act)
        return True

    def _restart(self, act: Act) -> None:
        low, high = _DOWN_S
        time.sleep(low + act.lot * (high - low))
        self.site.restart(act.part)
        self._busy.discard(act.part)

    def _wake_server(self, act: Act) -> None:
        time.sleep(act.seconds)
        self.site.signal_server(act.part, signal.SIGCONT)
        self._busy.discard(act.part)

    # -- what does not kill

    def _wipe(self, act: Act) -> None:
        with suppress(*broker_away()), broker.connect(self._broker, timeout_s=5) as client:
            client.flushall()
            self.say("FLUSHALL")

    @property
    def _broker(self) -> str:
        assert self.site.servers.redis_url
        return self.site.servers.redis_url

    def _flood(self, act: Act) -> None:
        """Hints that are doubled, stale, or about nothing, and messages that are no hints."""
        chance = Random(f"{act.at_s}:{act.lot}")
        known = self.site.number("SELECT coalesce(max(id), 1) FROM tasks") or 1
        hints = Hints(self._broker)
        try:
            for _ in range(3):
                ids = [chance.randint(1, known + 50) for _ in range(100)]
                hints.send((task_id, chance.choice(list(Kind)).value) for task_id in ids)
        finally:
            hints.close()
        with suppress(*broker_away()), broker.connect(self._broker, timeout_s=5) as client:
            for _ in range(100):
                client.lpush(f"{KEY_PREFIX}{chance.choice(list(Kind)).value}", _garbage(chance))
        self.say("flood of 400 hints")

    def _hold(self, act: Act) -> None:
        """A transaction that locks a run and tasks and then does nothing, until the server ends it."""
        url = make_url(self.site.servers.database_url or "")
        query = {name: str(value) for name, value in url.query.items()}
        with suppress(psycopg2.Error):
            connection = psycopg2.connect(user=url.username, dbname=url.database, port=url.port, **query)
            with suppress(psycopg2.Error), connection.cursor() as cursor:
                cursor.execute(f"SET idle_in_transaction_session_timeout = '{round(act.seconds * 1000)}ms'")
                connection.commit()
                run = "SELECT id FROM runs WHERE status = 'running' LIMIT 1 FOR UPDATE"
                cursor.execute(run if act.lot < 0.5 else "SELECT 1")
                cursor.execute("SELECT id FROM tasks ORDER BY id LIMIT 20 FOR UPDATE SKIP LOCKED")
                self.say(f"locks held for {act.seconds:.1f} s" + (", the run's too" if act.lot < 0.5 else ""))
                time.sleep(act.seconds + 0.5)
            with suppress(psycopg2.Error):
                connection.close()


def broker_away() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return RedisError, OSError


def _wake(victim: Program, seconds: float) -> None:
    time.sleep(seconds)
    victim.send(signal.SIGCONT)
    victim.paused = False


def _garbage(chance: Random) -> str:
    """A message as kombu lays it into a queue, whose content makes no sense; or nothing that kombu would."""
    if chance.random() < 0.3:
        return chance.choice(("garbage", "[]", "null", "{}", '{"body": 7}', ""))
    arguments: tuple[list[object], ...] = (["abc"], [None], [], [10**30], [-1])
    name = chance.choice([*(kind.value for kind in Kind), "nonsense", ""])
    tag = str(uuid4())
    return json.dumps(
        {
            "body": chance.choice((json.dumps([chance.choice(arguments), {}, {}]), '"?"', "7", "{}", "[[]]")),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"lang": "py", "task": name, "id": tag, "argsrepr": "?", "kwargsrepr": "?"},
            "properties": {
                "correlation_id": tag,
                "reply_to": None,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "expand"},
                "priority": 0,
                "body_encoding": "utf-8",
                "delivery_tag": tag,
            },
        }
    )
