"""Recipe `idea-mcts`: select, expand, evaluate, simulate, back up (papers.md, section 1).

Where a tree stands is read off its nodes and rollouts, so a tree that was loaded from its rows goes on exactly where it
stopped. One iteration is one rollout; trees run beside each other, the phases of one tree one after another.
"""

from dataclasses import dataclass

from orchestrator.search.ids import child_key, draw, sample
from orchestrator.search.select import Uct, select_leaf
from orchestrator.search.tree import (
    Evaluate,
    Expand,
    Node,
    Origin,
    Proposal,
    Rollout,
    Status,
    Step,
    Tree,
    back_up,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdeaMcts:
    """The published constants, and our pick wherever the paper is silent (`docs/recipes.md` gives each reason)."""

    operators: tuple[str, ...]
    uct: Uct
    iterations: int
    children: int
    max_depth: int
    stop_reward: float
    distinct_operators: bool
    simulate_child: str
    simulation_attempts: int


def is_terminal(node: Node, options: IdeaMcts) -> bool:
    """Deeper than the limit, or rewarded above the threshold. The seed never is: every seed is evolved."""
    if node.parent is None:
        return False
    return node.depth > options.max_depth or (node.reward or 0.0) > options.stop_reward


def is_spent(tree: Tree, options: IdeaMcts) -> bool:
    """All iterations have been rolled out."""
    return len(tree.rollouts) >= options.iterations


def ask(tree: Tree, options: IdeaMcts) -> Step:
    """Everything that can be decided now. An empty step means: wait for outcomes, or the tree is spent."""
    rollouts: list[Rollout] = []
    while not is_spent(tree, options) and not _unsettled(tree):
        decision = _decide(tree, options)
        if isinstance(decision, Expand):
            return Step(proposals=(_send(tree, decision),), rollouts=tuple(rollouts))
        rollouts.append(decision)
    return Step(proposals=_evaluations(tree), rollouts=tuple(rollouts))


def _unsettled(tree: Tree) -> list[Node]:
    return [n for n in tree.nodes.values() if n.status in (Status.PROPOSED, Status.GENERATED)]


def _evaluations(tree: Tree) -> tuple[Proposal, ...]:
    """Siblings are scored together, so they wait until each of them has a text or is out."""
    unsettled = _unsettled(tree)
    if any(node.status is Status.PROPOSED for node in unsettled):
        return ()
    ready = [node for node in unsettled if node.key not in tree.in_flight]
    if not ready:
        return ()
    tree.in_flight.update(node.key for node in ready)
    return (Evaluate(parent=ready[0].parent, nodes=tuple(node.key for node in ready)),)


def _send(tree: Tree, expand: Expand) -> Expand:
    for child in expand.children:
        tree.add(child)
        tree.in_flight.add(child.key)
    return expand


def _decide(tree: Tree, options: IdeaMcts) -> Expand | Rollout:
    """The next move of the current iteration, once everything proposed so far has settled."""
    iteration = len(tree.rollouts)
    mine = [n for n in tree.nodes.values() if n.iteration == iteration and n.origin is not Origin.SEED]
    if not mine:
        leaf = select_leaf(tree, options.uct)
        return back_up(tree, leaf.key, terminal=True) if is_terminal(leaf, options) else _expand(tree, leaf, options)
    return _simulate(tree, mine, options)


def _simulate(tree: Tree, mine: list[Node], options: IdeaMcts) -> Expand | Rollout:
    """Evolves on from the head of this iteration's path until it is terminal or leads nowhere."""
    head = _head(tree, mine, options)
    if head is None:
        return back_up(tree, mine[0].parent or tree.root, terminal=False)
    if is_terminal(head, options):
        return back_up(tree, head.key, terminal=True)
    tried = [n for n in mine if n.origin is Origin.SIMULATION and n.parent == head.key]
    if len(tried) >= options.simulation_attempts:
        return back_up(tree, head.key, terminal=False)
    return _simulation_step(tree, head, tried, options)


def _head(tree: Tree, mine: list[Node], options: IdeaMcts) -> Node | None:
    """The last scored simulation node or, before there is one, the child that simulation starts from."""
    scored = [node for node in mine if node.reward is not None]
    simulated = [node for node in scored if node.origin is Origin.SIMULATION]
    if simulated:
        return max(simulated, key=lambda node: node.depth)
    if not scored:
        return None
    if options.simulate_child == "random":
        return sample(scored, 1, tree.seed, mine[0].parent, "simulate", len(tree.rollouts))[0]
    return min(scored, key=lambda node: (-(node.reward or 0.0), node.key))


def _expand(tree: Tree, leaf: Node, options: IdeaMcts) -> Expand:
    start = len(tree.children.get(leaf.key, ()))
    if options.distinct_operators:
        operators = sample(options.operators, options.children, tree.seed, leaf.key, "expand", start)
    else:
        chances = (draw(tree.seed, leaf.key, "expand", start, i) for i in range(options.children))
        operators = [options.operators[int(chance * len(options.operators))] for chance in chances]
    children = tuple(_child(tree, leaf, operator, start + i, Origin.EXPANSION) for i, operator in enumerate(operators))
    return Expand(parent=leaf.key, children=children)


def _simulation_step(tree: Tree, head: Node, tried: list[Node], options: IdeaMcts) -> Expand:
    """One random operator, none that has already failed here unless all have."""
    used = {node.operator for node in tried}
    fresh = [operator for operator in options.operators if operator not in used] or list(options.operators)
    ordinal = len(tree.children.get(head.key, ()))
    operator = sample(fresh, 1, tree.seed, head.key, "simulation", ordinal)[0]
    return Expand(parent=head.key, children=(_child(tree, head, operator, ordinal, Origin.SIMULATION),))


def _child(tree: Tree, parent: Node, operator: str, ordinal: int, origin: Origin) -> Node:
    return Node(
        key=child_key(parent.key, operator, ordinal),
        parent=parent.key,
        ordinal=ordinal,
        depth=parent.depth + 1,
        operator=operator,
        origin=origin,
        iteration=len(tree.rollouts),
        status=Status.PROPOSED,
    )
