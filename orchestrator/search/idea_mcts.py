"""Recipe `idea-mcts`: select, expand, evaluate, simulate, back up (papers.md, section 1).

Where a tree stands is read off its nodes and rollouts, so a tree that was loaded from its rows goes on exactly where it
stopped. One iteration is one rollout; trees run beside each other, the phases of one tree one after another.
"""

from dataclasses import dataclass, replace

from orchestrator.search.ids import draw, sample
from orchestrator.search.select import Uct, select_leaf
from orchestrator.search.tree import (
    NO_LIMIT,
    Expand,
    Node,
    Origin,
    Rollout,
    Step,
    Tree,
    back_up,
    evaluations,
    propose,
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
    evolutions: int = NO_LIMIT

    def within(self, evolutions: int) -> "IdeaMcts":
        return replace(self, evolutions=min(self.evolutions, evolutions))

    def ask(self, tree: Tree, most: int = NO_LIMIT) -> Step:
        """Everything that can be decided now. An empty step means: wait for outcomes, or the tree is spent.

        The phases of an iteration follow one another, so there is one litter at a time, whatever `most` says.
        """
        rollouts: list[Rollout] = []
        while not self.is_spent(tree) and not tree.open:
            decision = _decide(tree, self)
            if isinstance(decision, Expand):
                return Step(proposals=(decision,), rollouts=tuple(rollouts))
            rollouts.append(decision)
        return Step(proposals=evaluations(tree), rollouts=tuple(rollouts))

    def is_spent(self, tree: Tree) -> bool:
        """All iterations have been rolled out, or there may be no more evolutions and the last one is rolled out."""
        if len(tree.rollouts) >= self.iterations:
            return True
        return self.left(tree) <= 0 and not tree.open and not _of_iteration(tree, len(tree.rollouts))

    def left(self, tree: Tree) -> int:
        """How many more evolutions there may be."""
        return self.evolutions - len(tree.issued)


def is_terminal(node: Node, options: IdeaMcts) -> bool:
    """Deeper than the limit, or rewarded above the threshold. The seed never is: every seed is evolved."""
    if node.parent is None:
        return False
    return node.depth > options.max_depth or (node.reward or 0.0) > options.stop_reward


def _decide(tree: Tree, options: IdeaMcts) -> Expand | Rollout:
    """The next move of the current iteration, once everything proposed so far has settled."""
    iteration = len(tree.rollouts)
    mine = _of_iteration(tree, iteration)
    if not mine:
        leaf = select_leaf(tree, options.uct)
        return back_up(tree, leaf.key, terminal=True) if is_terminal(leaf, options) else _expand(tree, leaf, options)
    return _simulate(tree, mine, options)


def _of_iteration(tree: Tree, iteration: int) -> list[Node]:
    return [n for n in tree.nodes.values() if n.iteration == iteration and n.origin is not Origin.SEED]


def _simulate(tree: Tree, mine: list[Node], options: IdeaMcts) -> Expand | Rollout:
    """Evolves on from the head of this iteration's path until it is terminal or leads nowhere."""
    head = _head(tree, mine, options)
    if head is None:
        return back_up(tree, mine[0].parent or tree.root, terminal=False)
    if is_terminal(head, options):
        return back_up(tree, head.key, terminal=True)
    tried = [n for n in mine if n.origin is Origin.SIMULATION and n.parent == head.key]
    if len(tried) >= options.simulation_attempts or options.left(tree) <= 0:
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
    start, count = len(tree.children.get(leaf.key, ())), min(options.children, options.left(tree))
    if options.distinct_operators:
        operators = sample(options.operators, count, tree.seed, leaf.key, "expand", start)
    else:
        chances = (draw(tree.seed, leaf.key, "expand", start, i) for i in range(count))
        operators = [options.operators[int(chance * len(options.operators))] for chance in chances]
    return propose(tree, leaf, operators, iteration=len(tree.rollouts))


def _simulation_step(tree: Tree, head: Node, tried: list[Node], options: IdeaMcts) -> Expand:
    """One random operator, none that has already failed here unless all have."""
    used = {node.operator for node in tried}
    fresh = [operator for operator in options.operators if operator not in used] or list(options.operators)
    ordinal = len(tree.children.get(head.key, ()))
    operator = sample(fresh, 1, tree.seed, head.key, "simulation", ordinal)[0]
    return propose(tree, head, [operator], iteration=len(tree.rollouts), origin=Origin.SIMULATION)
