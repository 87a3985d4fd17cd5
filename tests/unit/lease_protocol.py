"""The lease protocol of one task as a small machine, every move of it one transaction, and a search through all orders.

Two workers, a sweep, a scheduler, an endpoint that charges, and a clock. `explore` visits every state that any
interleaving of their moves can reach and says whether a law is broken, with the shortest way there. `Rules` are what
the code does; a field set otherwise is a known way to get the protocol wrong.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

MAX_ATTEMPTS = 3
MOST_GIVEN_BACK = 1  # an attempt that is given back does not count, so without a bound there is no end of states

IDLE, CLAIMED, MISSING, ANNOUNCED, PAID, KNOWN = "idle", "claimed", "missing", "announced", "paid", "known"
IN_FLIGHT = (ANNOUNCED, PAID)

STALE_WON = "a write without a valid lease took effect"
ENDED_TWICE = "the task ended twice"
APPLIED_TWICE = "its result was applied twice"
PAID_TWICE = "a call was paid for again although none was lost"
TOO_OFTEN = "it was attempted more often than allowed"
LOST = "the task is lost: nothing leads to its end any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the protocol behaves. As they stand they are those of `db.tasks`, `db.attempts` and the scheduler."""

    fence: str = "token"  # what a worker's write must name: "token", "attempts" or "nothing"
    token_grows: bool = True  # with every claim
    only_while_leased: bool = True  # a worker's write needs the state `leased`
    sweep_forgives: bool = False  # the attempt of a worker that died does not count
    sweep_hints: bool = True  # it sends hints for what is ready and was not hinted lately
    looks_first: bool = True  # an answer in the ledger is not asked for again
    announces: bool = True  # a request is sent only under a valid lease
    records_first: bool = True  # an answer is durable before anything is made of it
    closes_at_once: bool = True  # the transaction that applies a result closes its task


class Task(NamedTuple):
    state: str = "ready"  # ready, leased, done, failed; gone once applied, kept once its failure is
    attempts: int = 0
    token: int = 0
    late: bool = False  # `lease_until` has passed
    overdue: bool = False  # `deadline` has passed
    hinted: bool = True  # a hint is under way, or was lately


class Hand(NamedTuple):
    """A worker: how far it is, and the lease that it believes to hold."""

    phase: str = IDLE
    token: int = 0
    attempts: int = 0


class State(NamedTuple):
    task: Task = Task()
    hands: tuple[Hand, ...] = (Hand(), Hand())
    ledger: bool = False  # the answer is durable
    given_back: int = 0
    applied: int = 0
    # What nobody in the protocol can see, and the laws are about:
    holder: int | None = None  # who claimed last and was not relieved of it since
    ended: int = 0
    paid: int = 0
    losses: int = 0  # answers lost, and calls in flight when their worker died or its lease was taken away
    stale_won: bool = False


class Move(NamedTuple):
    what: str
    who: int | None = None

    def __str__(self) -> str:
        return self.what if self.who is None else f"{'AB'[self.who]} {self.what}"


Step = tuple[Move, State]


def moves(rules: Rules, state: State) -> Iterator[Step]:
    """Everything that may happen next."""
    for who, hand in enumerate(state.hands):
        for what, after in _moves_of(rules, state, who, hand):
            yield Move(what, who), after
    for what, after in _moves_of_others(rules, state):
        yield Move(what), after


def _moves_of(rules: Rules, state: State, who: int, hand: Hand) -> Iterator[tuple[str, State]]:
    if hand.phase == IDLE:
        if state.task.hinted and state.task.state == "ready" and state.task.attempts < MAX_ATTEMPTS:
            yield "claims", _claimed(rules, state, who)
        return
    yield "dies", _died(state, who)
    yield "beats", _beaten(rules, state, hand)
    if hand.phase == KNOWN:
        committed = _write(rules, state, who, state="done")
        yield "commits", committed
        yield "commits unheard", committed._replace(hands=state.hands) if committed != _idle(state, who) else committed
    elif hand.phase == PAID:
        yield "records", _phase(state._replace(ledger=True), who, KNOWN)
        yield "loses the answer", _write(rules, state._replace(losses=state.losses + 1), who, state=_after_retry(hand))
    else:
        yield from _moves_before_paying(rules, state, who, hand)
    if hand.phase != PAID and state.given_back < MOST_GIVEN_BACK:
        yield "gives back", _given_back(rules, state, who)


def _moves_before_paying(rules: Rules, state: State, who: int, hand: Hand) -> Iterator[tuple[str, State]]:
    if hand.phase == CLAIMED:
        found = KNOWN if state.ledger and rules.looks_first else MISSING
        yield "looks into the ledger", _phase(state, who, found)
    elif hand.phase == MISSING:
        allowed = _fits(rules, state.task, hand) or not rules.announces
        yield "announces", _phase(state, who, ANNOUNCED) if allowed else _idle(state, who)
    else:
        paid = state._replace(paid=state.paid + 1)
        yield "is answered", _phase(paid, who, PAID if rules.records_first else KNOWN)
        yield "fails", _write(rules, state, who, state="failed")


def _moves_of_others(rules: Rules, state: State) -> Iterator[tuple[str, State]]:
    task = state.task
    if task.hinted:
        yield "the hint is lost", state._replace(task=task._replace(hinted=False))
    if task.state == "leased" and not task.late:
        yield "the lease runs out", state._replace(task=task._replace(late=True))
    if task.state == "leased" and not task.overdue:
        yield "the deadline passes", state._replace(task=task._replace(late=True, overdue=True))
    if (swept := _swept(rules, state)) != state:
        yield "the sweep passes", swept
    if task.state in ("done", "failed"):
        closed = task._replace(state="gone" if task.state == "done" else "kept")
        applied = state._replace(applied=state.applied + 1)
        yield "the scheduler applies", applied._replace(task=closed) if rules.closes_at_once else applied
        if state.applied and not rules.closes_at_once:
            yield "the scheduler closes", state._replace(task=closed)


def _claimed(rules: Rules, state: State, who: int) -> State:
    task = state.task
    token = task.token + 1 if rules.token_grows else task.token
    leased = task._replace(state="leased", attempts=task.attempts + 1, token=token, late=False, overdue=False)
    hand = Hand(CLAIMED, token, leased.attempts)
    return state._replace(task=leased, hands=_with(state.hands, who, hand), holder=who)


def _died(state: State, who: int) -> State:
    lost = state.hands[who].phase == PAID
    return _idle(state._replace(losses=state.losses + lost), who)


def _beaten(rules: Rules, state: State, hand: Hand) -> State:
    task = state.task
    if not _fits(rules, task, hand) or task.state != "leased" or task.overdue:
        return state
    return state._replace(task=task._replace(late=False))


def _fits(rules: Rules, task: Task, hand: Hand) -> bool:
    """Whether the fence lets a write of this worker through."""
    if task.state == "gone" or (rules.only_while_leased and task.state != "leased"):
        return False
    if rules.fence == "nothing":
        return True
    return task.token == hand.token if rules.fence == "token" else task.attempts == hand.attempts


def _write(rules: Rules, before: State, who: int, *, state: str, counted_back: int = 0) -> State:
    """A fenced write that ends the lease; whoever is stale changes nothing and turns to something else."""
    idle = _idle(before, who)
    if not _fits(rules, before.task, before.hands[who]):
        return idle
    task = before.task._replace(
        state=state,
        attempts=before.task.attempts - counted_back,
        late=False,
        overdue=False,
        hinted=before.task.hinted and state != "ready",
    )
    return idle._replace(
        task=task,
        holder=None,
        ended=before.ended + (task.state in ("done", "failed")),
        stale_won=before.stale_won or before.holder != who,
    )


def _after_retry(hand: Hand) -> str:
    return "ready" if hand.attempts < MAX_ATTEMPTS else "failed"


def _given_back(rules: Rules, state: State, who: int) -> State:
    counted = state._replace(given_back=state.given_back + 1)
    return _write(rules, counted, who, state="ready", counted_back=1)


def _swept(rules: Rules, state: State) -> State:
    task = state.task
    if task.state == "leased" and task.late:
        spent = task.attempts >= MAX_ATTEMPTS
        freed = task._replace(state="failed" if spent else "ready", late=False, overdue=False, hinted=False)
        if rules.sweep_forgives:
            freed = freed._replace(attempts=task.attempts - 1)
        flying = state.holder is not None and state.hands[state.holder].phase in IN_FLIGHT
        state = state._replace(task=freed, holder=None, losses=state.losses + flying, ended=state.ended + spent)
    if state.task.state == "ready" and rules.sweep_hints:
        return state._replace(task=state.task._replace(hinted=True))
    return state


def _phase(state: State, who: int, phase: str) -> State:
    return state._replace(hands=_with(state.hands, who, state.hands[who]._replace(phase=phase)))


def _idle(state: State, who: int) -> State:
    return state._replace(hands=_with(state.hands, who, Hand()))


def _with(hands: tuple[Hand, ...], who: int, hand: Hand) -> tuple[Hand, ...]:
    return (*hands[:who], hand, *hands[who + 1 :])


def broken_law(state: State) -> str | None:
    """The law that this state breaks, if it breaks one."""
    laws = (
        (STALE_WON, state.stale_won),
        (ENDED_TWICE, state.ended > 1),
        (APPLIED_TWICE, state.applied > 1),
        (PAID_TWICE, state.paid > 1 + state.losses),
        (TOO_OFTEN, state.task.attempts > MAX_ATTEMPTS),
    )
    return next((law for law, broken in laws if broken), None)


def is_over(state: State) -> bool:
    return state.task.state in ("gone", "kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """How far the search went; and if a law is broken, which, and the shortest way there."""

    states: int
    moves: int
    broken: str | None = None
    trace: tuple[str, ...] = ()


def explore(rules: Rules, start: State = State()) -> Explored:  # noqa: B008 - a NamedTuple does not change
    """Visits every reachable state, nearest first, and stops at the first that breaks a law."""
    came_from: dict[State, Step | None] = {start: None}
    leads_back: dict[State, list[State]] = {start: []}
    queue, seen_moves = deque([start]), 0
    while queue:
        state = queue.popleft()
        for move, after in moves(rules, state):
            seen_moves += 1
            if after not in came_from:
                came_from[after] = (move, state)
                leads_back[after] = []
                queue.append(after)
                if law := broken_law(after):
                    trace = _trace(came_from, after)
                    return Explored(states=len(came_from), moves=seen_moves, broken=law, trace=trace)
            leads_back[after].append(state)
    lost = _nearest_lost(came_from, leads_back)
    trace = () if lost is None else _trace(came_from, lost)
    return Explored(states=len(came_from), moves=seen_moves, broken=None if lost is None else LOST, trace=trace)


def _nearest_lost(came_from: dict[State, Step | None], leads_back: dict[State, list[State]]) -> State | None:
    """The first state found from which no order of moves brings the task to its end."""
    ends = [state for state in came_from if is_over(state)]
    saved, queue = set(ends), deque(ends)
    while queue:
        for before in leads_back[queue.popleft()]:
            if before not in saved:
                saved.add(before)
                queue.append(before)
    return next((state for state in came_from if state not in saved), None)


def _trace(came_from: dict[State, Step | None], state: State) -> tuple[str, ...]:
    trace: list[str] = []
    while (step := came_from[state]) is not None:
        move, state = step
        trace.append(str(move))
    return tuple(reversed(trace))


def walk(chance: Random, most: int, rules: Rules = Rules()) -> list[Step]:
    """One order of moves drawn at random, up to the task's end and a few moves beyond it."""
    state, steps = State(), []
    for _ in range(most):
        choices = list(moves(rules, state))
        if not choices:
            break
        # Dying and waiting are always possible; without weights most walks would be little else.
        weights = [1 if step[0].what in _DULL else 4 for step in choices]
        move, state = chance.choices(choices, weights)[0]
        steps.append((move, state))
    return steps


_DULL = ("dies", "beats", "gives back", "the hint is lost", "the deadline passes", "the lease runs out", "fails")
