"""Ledger pages, covers, beats, sweeps, a driver and its user on one run at once: nobody waits for ever for anybody."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from random import Random
from threading import Event, Lock

from sqlalchemy import Connection, Engine, text

from db import attempts, runs, tasks
from db.errors import StaleLease
from db.records import AttemptRow, Caps, Lease, Run, Spend
from tests.integration.test_attempts import MOST, answer, apply, attempt, begin, issue, page, spent
from workers.llm.page import Unpaid

Role = Callable[[Random], None]
LEDGERS, ROUNDS = 3, 100
RESERVED = MOST.times(2)


@dataclass(slots=True)
class Storm:
    """What the threads share. No thread holds its lock while it waits for the database."""

    engine: Engine
    run: Run
    held: dict[int, Lease] = field(default_factory=dict)
    out: list[AttemptRow] = field(default_factory=list)  # sent, and not heard of yet
    charged: Spend = field(default_factory=Spend)
    did: Counter = field(default_factory=Counter)
    lock: Lock = field(default_factory=Lock)
    over: Event = field(default_factory=Event)

    def rounds(self, role: Role, seed: int) -> None:
        chance = Random(seed)
        for _ in range(ROUNDS):
            role(chance)

    def until_over(self, role: Role, seed: int) -> None:
        chance = Random(-1 - seed)
        while not self.over.wait(chance.uniform(0, 0.01)):
            role(chance)

    def some_leases(self, chance: Random, most: int) -> list[Lease]:
        with self.lock:
            found = list(self.held.values())
        return chance.sample(found, min(len(found), chance.randint(1, most)))

    def ledger(self, chance: Random) -> None:
        """A page: answers, late ones too; requests that came to nothing; and new ones, some beyond what is reserved."""
        with self.lock:
            heard = [self.out.pop(chance.randrange(len(self.out))) for _ in range(min(len(self.out) - 20, 4))]
        wanted = [attempt(lease, f"k{chance.randrange(200)}") for lease in self.some_leases(chance, 3)]
        lost, came = heard[:1] if chance.random() < 0.3 else [], heard[1:]
        done = page(self.engine, [answer(one) for one in came], [*(Unpaid(one.id) for one in lost), *wanted])
        for one in done.uncovered:
            with self.engine.begin() as connection:
                done.refused[one.id] = attempts.cover(connection, one)
            self.did["covered"] += 1
        sent = [one for one in wanted if done.refused.get(one.id) is None]
        self.did.update(str(done.refused.get(one.id)) for one in wanted)
        with self.lock:
            self.out += [one for one in sent if chance.random() < 0.9]
            self.charged += MOST.times(len(sent)) - MOST.times(len(lost))

    def heart(self, chance: Random) -> None:
        """A stopped worker's beats come late: they name leases of the past too."""
        leases = self.some_leases(chance, 20)
        with self.engine.begin() as connection:
            tasks.beat(connection, [(lease.task_id, lease.token) for lease in leases], lease_s=60)

    def worker(self, chance: Random) -> None:
        """Ends tasks under whatever lease it believes to have, and claims what is ready."""
        for lease in self.some_leases(chance, 1) if chance.random() < 0.3 else []:
            with self.engine.connect() as connection:
                try:
                    self._end(connection, lease, chance)
                    connection.commit()
                except StaleLease:
                    self.did["stale ends"] += 1
            if chance.random() < 0.8:  # or it goes on as if nothing had happened
                with self.lock:
                    self.held.pop(lease.task_id, None)
        with self.engine.begin() as connection:
            ready = list(
                connection.scalars(text("SELECT id FROM tasks WHERE state = 'ready' ORDER BY random() LIMIT 4"))
            )
            claimed = [tasks.claim(connection, i, worker="w", lease_s=60, max_attempts=5) for i in ready]
        with self.lock:
            self.held.update({lease.task_id: lease for lease in claimed if lease and chance.random() < 0.9})

    def _end(self, connection: Connection, lease: Lease, chance: Random) -> None:
        ending = chance.randrange(4)
        if ending == 0:
            tasks.give_back(connection, lease, error="world", delay_s=0)
        elif ending == 1:
            tasks.retry(connection, lease, error="no", delay_s=0, max_attempts=5)
        else:
            tasks.finish(connection, lease, {})
            self.did["finished"] += 1

    def driver(self, chance: Random) -> None:
        with self.engine.begin() as connection:
            apply(connection, self.run)
            run = runs.by_id(connection, self.run.id)
            room = run.caps.calls - (run.reserved + run.spent).calls if run.caps.calls else 0
            for _ in range(min(room // RESERVED.calls, 4) if chance.random() < 0.5 else 0):
                issue(connection, run, RESERVED)
        with self.engine.begin() as connection:
            runs.hold(connection, self.run, lease_s=60)
            if chance.random() < 0.01:
                tasks.withdraw(connection, self.run.id, "budget")
            tasks.sweep(connection, self.run.id, max_attempts=5, hint_age_s=0)

    def clock(self, chance: Random) -> None:
        """Takes a lease from its worker, as a long pause would."""
        late = text("UPDATE tasks SET lease_until = now() - interval '1 second' WHERE id = :id AND state = 'leased'")
        for lease in self.some_leases(chance, 1) if chance.random() < 0.3 else []:
            with self.engine.begin() as connection:
                connection.execute(late, {"id": lease.task_id})


def test_nobody_deadlocks_and_no_cap_is_passed_in_a_storm(engine: Engine):
    """An OperationalError in any thread (a deadlock, a lock that never comes) fails the test."""
    cap = 200
    run, leases = begin(engine, Caps(calls=cap), RESERVED, number=12)
    storm = Storm(engine, run, {lease.task_id: lease for lease in leases})
    others = (storm.worker, storm.heart, storm.driver, storm.clock)
    with ThreadPoolExecutor(max_workers=LEDGERS + len(others)) as threads:
        ledgers = [threads.submit(storm.rounds, storm.ledger, seed) for seed in range(LEDGERS)]
        around = [threads.submit(storm.until_over, role, seed) for seed, role in enumerate(others)]
        wait(ledgers)
        storm.over.set()
        for done in [*ledgers, *around]:
            done.result()
    assert min(storm.did["finished"], storm.did["stale"], storm.did["covered"], storm.did["cap"]) > 0, storm.did
    assert storm.charged.calls <= cap
    with engine.begin() as connection:
        connection.execute(text("UPDATE tasks SET state = 'failed' WHERE applied_at IS NULL"))
        apply(connection, run)
    total = spent(engine, run)
    assert storm.charged.calls <= total.calls <= cap
