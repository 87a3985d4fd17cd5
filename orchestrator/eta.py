"""How long a run that grows trees has still to go, as a range of seconds.

What is left is measured in nodes while trees grow (`orchestrator.sizes`), and in slot seconds (time that some slot
spends on a call) when their harvest is judged and answered. It is divided by the pace of the whole
run and by that of the last minute; the two are the ends of the range. A cap may end all of it earlier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from db import progress, workers
from db.minutes import Lately
from db.progress import Taken
from db.records import Run
from orchestrator.pace import OVER, Pace, Span, calls_s, caps_s, left_of, pace_of, ranged, taken_lately
from orchestrator.sizes import nodes_to_come, whole_tree
from workers.config import Role

# All other roles of a run with trees judge.
_WRITERS = (Role.EVOLVER, Role.RESPONDER)
# Fewer grown trees say little: those that are grown first are the small ones.
_ENOUGH = 5
# Trees that have their seed.
_PLANTED = ("growing", "grown", "cut")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands.

    nodes: that are still to come, seeds among them; None while nobody knows. answers, judgings: tasks that the harvest
    still has, expected or known. *_s: seconds of calls that one of them takes. slots: of all living workers; a task of
    the harvest makes one call at a time. left: what caps leave, by unit.
    """

    nodes: float | None
    answers: float
    judgings: float
    answer_s: float
    judging_s: float
    slots: int
    left: Mapping[str, float]


def seconds_left(progress: Progress, paces: Sequence[Pace]) -> Span:
    """From the fastest to the slowest of these paces. None while one of them says nothing yet."""
    return ranged([_at(progress, pace) for pace in paces])


def _at(progress: Progress, pace: Pace) -> float | None:
    """Whatever comes first: that all is done, or that a cap is reached."""
    growing, harvest = _growing_s(progress, pace), _harvest_s(progress, pace)
    ends = list(caps_s(progress.left, pace))
    if growing is not None and harvest is not None:
        ends.append(growing + harvest)
    return min(ends, default=None)


def _growing_s(progress: Progress, pace: Pace) -> float | None:
    if not progress.nodes:
        return progress.nodes
    return progress.nodes / pace.made if pace.made > 0 else None


def _harvest_s(progress: Progress, pace: Pace) -> float | None:
    work = progress.answers * progress.answer_s + progress.judgings * progress.judging_s
    return calls_s(work, progress.answer_s, pace, progress.slots)


def eta_of(
    connection: Connection,
    run: Run,
    *,
    trees: Mapping[str, int],
    nodes: int,
    pending: int,
    lately: Lately,
) -> Span:
    """For a run whose trees, nodes and examples are counted already; zero when nothing is left.

    Seeds are nodes here, on their way into their trees as evolved ones are: all of the first trees' come at once.
    The run's own pace is of the time in which it was driven and warm; where that is shorter than `lately`, it is alone.
    """
    if run.status not in ("running", "paused") or run.phase == "ended":
        return OVER
    driven_s = warm_s(connection, run)
    by_role = progress.taken_by_role(connection, run.id)
    whole = sum(by_role.values(), Taken())
    paces = [pace_of(whole, nodes, driven_s)]
    if driven_s > lately.seconds:
        evolved = nodes - sum(trees.get(state, 0) for state in _PLANTED)
        paces.append(pace_of(taken_lately(lately), lately.nodes * nodes / max(evolved, 1), lately.seconds))
    return seconds_left(_progress(connection, run, by_role, trees, nodes, pending), paces)


def warm_s(connection: Connection, run: Run) -> float:
    """For how long a run has been driven since its first seed was scored, one second at least.

    The time before is the clock's: where it is longer than the run was driven, nobody drove it, and all is counted.
    """
    warming_s = progress.warming_s(connection, run.id) or 0.0
    return max(run.driven_s - (warming_s if warming_s < run.driven_s else 0.0), 1.0)


def _progress(
    connection: Connection,
    run: Run,
    taken: Mapping[str, Taken],
    trees: Mapping[str, int],
    made: int,
    pending: int,
) -> Progress:
    growing = run.phase == "growing"
    nodes, share = _growth(connection, run, taken, trees, made) if growing else (0.0, 0.0)
    waiting, judged = progress.evaluations(connection, run.id)
    judge_s = sum(one.seconds for role, one in taken.items() if role not in _WRITERS)
    answers, judgings = (float(pending), 0.0) if run.phase == "responding" else _expected(connection, run, trees, share)
    return Progress(
        nodes=nodes,
        answers=answers,
        judgings=judgings if growing else float(waiting),
        answer_s=_mean_s(taken, Role.RESPONDER) or _mean_s(taken, Role.EVOLVER),
        judging_s=judge_s / judged if judged else 0.0,
        slots=sum(worker.slots for worker in workers.alive(connection)),
        left=left_of(run),
    )


def _growth(
    connection: Connection, run: Run, taken: Mapping[str, Taken], trees: Mapping[str, int], made: int
) -> tuple[float | None, float]:
    """Nodes to come, seeds of trees that wait among them; and how far the open trees have come at least, each from 0 to
    1, summed.
    """
    calls = sum(one.calls for one in taken.values())
    open_trees = progress.open_trees(connection, run.id)
    most = whole_tree(open_trees, run.config.get("search", {}), calls / made if made else 0.0)
    growing = [tree.settled for tree in open_trees]
    each = trees.get("growing", 0) / len(growing) if growing else 0.0
    waiting = trees.get("waiting", 0)
    evolved = nodes_to_come(progress.sizes(connection, run.id), growing, waiting, most, each=each)
    nodes = None if evolved is None else evolved + waiting
    return nodes, each * sum(min(size / most, 1.0) for size in growing) if most else 0.0


def _expected(connection: Connection, run: Run, trees: Mapping[str, int], share: float) -> tuple[float, float]:
    """Answers and tasks of judging that the harvest will ask for; who is judged in it is judged alone at the worst."""
    chosen, count = run.config.get("harvest", {}), sum(trees.values())
    answers = min(float(chosen.get("size", 0)), count * _each(connection, run, trees.get("growing", 0), share))
    judgings = chosen.get("again", 0) * answers + (answers + count if chosen.get("held_out") else 0)
    return answers if chosen.get("responses") else 0.0, judgings


def _each(connection: Connection, run: Run, growing: int, share: float) -> float:
    """How many nodes a tree has for the harvest: as grown trees say or, before there are some, those that grow."""
    chosen = run.config.get("harvest", {})
    on_paths, most = chosen.get("mode") == "paths", chosen.get("per_tree")
    grown = progress.harvestable(connection, run.id, ("grown", "cut"), on_paths=on_paths, most=most)
    if grown.trees >= _ENOUGH or not share:
        return grown.nodes / grown.trees if grown.trees else 0.0
    open_ = progress.harvestable(connection, run.id, ("growing",), on_paths=on_paths, most=most)
    return (grown.nodes + open_.nodes) / (grown.trees + share * open_.trees / growing)


def _mean_s(taken: Mapping[str, Taken], role: Role) -> float:
    return taken[role].seconds / taken[role].calls if role in taken else 0.0
