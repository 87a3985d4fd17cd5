"""A made-up but lifelike run for the report: trees grown by the rules of idea-mcts, texts, scores, faults and prices.

Seeded, so the same arguments give the same story. `python -m tests.unit.report_story OUT.html` writes its page.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from random import Random

from db.records import Caps, ExampleRow, NodeRow, RolloutRow, Run, Spend, TreeRow
from orchestrator.report.model import NodeCost, RoleSpend, RunStory, TreeStory

SEEDS = (
    ("Make a grocery list for a healthy meal.", ""),
    ("Suggest some games that can be played by a group of people.", ""),
    ("Explain the following idiom to me, and try to give me some examples.", "black sheep"),
    ("Generate a haiku using the following word:", "summer"),
    ("Recommend a movie for me to watch during the weekend and explain the reason.", ""),
    ("Create a birthday planning checklist.", ""),
    ("Give me a cooking recipe for the following food.", "Tteokbokki"),
    ("Plan a weekly lunch menu for a school. Write down a main dish and a side dish for each day.", ""),
    ("Write a python function that sorts a list from large to small.", ""),
    ("Is working part-time a good idea for teenagers between 15 and 19 years old?", ""),
    ("Suggest a quick pre-run warmup routine. Explain each move briefly.", ""),
    ("Create a fun math question for children.", ""),
    ("I am planning a 7-day trip to Seattle. Can you make a detailed plan for me?", ""),
    ("What causes ocean tides?", ""),
    ("Convert the following measurement.", "3 ft = _____ in."),
)
CLAUSES = {
    "add-goal": ("so that a reader who has ten minutes can act on it", "and reach a decision by the end"),
    "add-constraint": ("without spending more than 20 euros", "in at most 120 words", "with no electricity at hand"),
    "add-requirements": ("and cover cost, time and risks", "and name two alternatives with their drawbacks"),
    "problem-solving": ("Find out first why the usual answer fails, compare three options and test your choice.",),
    "deepen-reasoning": ("Reason step by step and show which assumption each step rests on.",),
    "domain-knowledge": ("Use the terms a specialist would use and explain the two most important ones.",),
    "everyday-life": ("Picture a family of four on a rainy Tuesday evening.", "You have just moved house."),
    "real-world": ("The result goes to a town council that votes on it next week.",),
    "emotion": ("Answer in a calm, encouraging tone: the reader has failed at this twice.",),
    "input-format": ("Input: | item | price | stock |\n| rice | 2.10 | 4 |\n| beans | 1.30 | 0 |",),
    "output-format": ("Give the answer as a table with three columns and a one-line summary.",),
}
EFFECT = {
    "add-goal": 0.5, "add-constraint": 0.9, "add-requirements": 1.1, "problem-solving": 1.4, "deepen-reasoning": 1.2,
    "domain-knowledge": 0.9, "everyday-life": 0.3, "real-world": 0.8, "emotion": -0.1, "input-format": 0.5,
    "output-format": 0.6, "brand-new": 0.1,
}  # fmt: skip
REJECTIONS = ("unchanged", "copied_demonstration", "off_topic", "answer", "scaffolding", "cut_off", "too_long")
TAGS = ("planning", "cooking", "budget", "reasoning", "table output", "health", "writing", "python", "travel")
START = datetime(2026, 10, 3, 20, 14, tzinfo=UTC)


@dataclass(slots=True)
class _Grower:
    """Grows one tree in place; `rng` is its only source of chance."""

    rng: Random
    tree_id: int
    nodes: dict[str, NodeRow] = field(default_factory=dict)
    rollouts: list[RolloutRow] = field(default_factory=list)

    def add(self, parent: NodeRow | None, ordinal: int, operator: str | None, origin: str, text: str) -> NodeRow:
        name = f"{parent.key if parent else self.tree_id}/{operator}/{ordinal}"
        node = NodeRow(
            tree_id=self.tree_id,
            key=blake2b(name.encode(), digest_size=12).hexdigest(),
            parent_key=parent.key if parent else None,
            ordinal=ordinal,
            depth=parent.depth + 1 if parent else 0,
            operator=operator,
            origin=origin,
            iteration=len(self.rollouts),
            status="generated",
            text=text,
        )
        self.nodes[node.key] = self.settle(node, parent)
        return self.nodes[node.key]

    def settle(self, node: NodeRow, parent: NodeRow | None) -> NodeRow:
        """Rejects, fails, leaves unscored or scores, with odds like those of a small local model."""
        chance = self.rng.random()
        if parent is not None and chance < 0.11:
            return replace(node, status="rejected", reason=self.rng.choice(REJECTIONS), calls=(f"c-{node.key}",))
        if parent is not None and chance < 0.13:
            return replace(node, status="failed", text=None, reason="call_failed")
        if parent is not None and chance < 0.16:
            return replace(node, status="unscored", reason="judge_unreadable", calls=(f"c-{node.key}",))
        lift = EFFECT.get(node.operator or "", 0.0)
        parts = [self.part(base, getattr(parent, name, None), lift) for name, base in BASES]
        return replace(
            node,
            status="scored",
            quality=parts[0],
            diversity=parts[1],
            complexity=parts[2],
            reward=round(sum(parts), 3),
            tags=tuple(self.rng.sample(TAGS, 3)),
            calls=(f"c-{node.key}", f"j-{node.key}"),
        )

    def part(self, base: float, above: float | None, lift: float) -> float:
        start = base if above is None else above
        return round(min(6.0, max(1.0, start + lift / 3 + self.rng.gauss(0, 0.45))), 2)

    def evolve(self, parent: NodeRow, ordinal: int, operator: str, origin: str) -> NodeRow:
        text = parent.text or ""
        if operator == "brand-new":
            return self.add(parent, ordinal, operator, origin, self.rng.choice(SEEDS)[0])
        clause = self.rng.choice(CLAUSES[operator])
        joined = f"{text}\n{clause}" if clause[0].isupper() else f"{text.rstrip('.?:')} {clause}."
        return self.add(parent, ordinal, operator, origin, joined)

    def iterate(self) -> None:
        head = min(self.leaves(), key=lambda node: -(node.reward or 0))
        operators = self.rng.sample(sorted(EFFECT), 5)
        children = [self.evolve(head, i, operator, "expansion") for i, operator in enumerate(operators)]
        alive = [node for node in children if node.status == "scored"]
        leaf = max(alive, key=lambda node: node.reward or 0, default=head)
        while leaf.depth <= 4 and (leaf.reward or 0) <= 10:
            step = self.evolve(leaf, 0, self.rng.choice(sorted(EFFECT)), "simulation")
            if step.status != "scored":
                break
            leaf = step
        self.back_up(leaf)

    def leaves(self) -> list[NodeRow]:
        parents = {node.parent_key for node in self.nodes.values()}
        scored = [n for n in self.nodes.values() if n.status == "scored" and n.origin != "simulation"]
        return [n for n in scored if n.key not in parents and n.depth < 4] or [next(iter(self.nodes.values()))]

    def back_up(self, leaf: NodeRow) -> None:
        terminal = leaf.depth > 4 or (leaf.reward or 0) > 10
        row = RolloutRow(
            tree_id=self.tree_id,
            ordinal=len(self.rollouts),
            leaf_key=leaf.key,
            reward=leaf.reward,
            terminal=terminal,
        )
        self.rollouts.append(row)
        at: str | None = leaf.key
        while at is not None and leaf.reward is not None:
            node = self.nodes[at]
            self.nodes[at] = replace(node, visits=node.visits + 1, value_sum=node.value_sum + leaf.reward)
            at = node.parent_key


BASES = (("quality", 3.1), ("diversity", 2.2), ("complexity", 1.9))


def grow(seed: int, ordinal: int) -> TreeStory:
    rng = Random(f"{seed}/{ordinal}")
    instruction, given = SEEDS[ordinal % len(SEEDS)]
    grower = _Grower(rng, 100 + ordinal)
    grower.add(None, 0, None, "seed", instruction)
    for _ in range(3):
        grower.iterate()
    body: dict[str, str] = {"instruction": instruction} | ({"input": given} if given else {})
    row = TreeRow(id=100 + ordinal, run_id=1, ordinal=ordinal, seed=body, status="grown", reason=None)
    return TreeStory(row=row, nodes=tuple(grower.nodes.values()), rollouts=tuple(grower.rollouts))


def harvest(seed: int, trees: Iterable[TreeStory]) -> tuple[ExampleRow, ...]:
    rng = Random(f"{seed}/harvest")
    examples: list[ExampleRow] = []
    for tree in trees:
        fit = [node for node in tree.nodes if node.status == "scored" and node.parent_key and node.visits]
        for node in rng.sample(fit, min(4, len(fit))):
            examples.append(_example(len(examples) + 1, node, tree, rng.random()))
    return tuple(examples)


def _example(number: int, node: NodeRow, tree: TreeStory, chance: float) -> ExampleRow:
    status, reason = "accepted", None
    if chance < 0.10:
        status, reason = "rejected", "duplicate" if chance < 0.06 else "cut_off"
    elif chance < 0.13:
        status, reason = "failed", "call_failed"
    output = None if status == "failed" else f"Here is one way to do it. {(node.text or '')[:90]}\n1. Begin.\n2. Check."
    return ExampleRow(
        id=number,
        run_id=1,
        tree_id=node.tree_id,
        node_key=node.key,
        status=status,
        reason=reason,
        instruction=node.text or "",
        input=str(tree.row.seed.get("input", "")),
        output=output,
    )


def story(*, seed: int = 7, trees: int = 40) -> RunStory:
    """A finished run over `trees` seeds."""
    grown = tuple(grow(seed, ordinal) for ordinal in range(trees))
    nodes = [node for tree in grown for node in tree.nodes]
    count = len(nodes)
    spend = (
        _spend("evolver", count, 610, 92, 3.1, "gemma-3-270m"),
        _spend("judge", count * 2, 820, 1, 0.4, "gemma-3-270m"),
        _spend("responder", trees * 4, 140, 230, 6.2, "SmolLM2-135M-Instruct"),
    )
    return RunStory(
        run=run(trees, spend),
        trees=grown,
        examples=harvest(seed, grown),
        spend=spend,
        node_costs={
            (n.tree_id, n.key): NodeCost(calls=len(n.calls), tokens_in=1430, tokens_out=93, nusd=0) for n in nodes
        },
    )


def _spend(role: str, calls: int, each_in: int, each_out: int, latency_s: float, model: str) -> RoleSpend:
    return RoleSpend(
        role=role,
        calls=calls,
        tokens_in=calls * each_in,
        tokens_out=calls * each_out,
        nusd=0,
        mean_latency_s=latency_s,
        models=(model,),
    )


def run(seeds: int, spend: tuple[RoleSpend, ...] = ()) -> Run:
    spent = Spend(
        calls=sum(role.calls for role in spend),
        tokens=sum(role.tokens_in + role.tokens_out for role in spend),
        nusd=sum(role.nusd or 0 for role in spend),
    )
    return Run(
        id=1,
        name="kitchen-and-code",
        recipe="idea-mcts",
        config={},
        config_hash="0" * 64,
        status="done",
        phase="ended",
        reason=None,
        seeds_given=seeds + 2,
        seeds_duplicate=2,
        caps=Caps(calls=20_000),
        reserved=Spend(),
        spent=spent,
        calls_replayed=211,
        owner_token=1,
        driven_s=28_092.0,
        created_at=START,
        finished_at=START + timedelta(seconds=28_092),
    )


if __name__ == "__main__":
    from orchestrator.report import render

    Path(sys.argv[1]).write_text(render(story(trees=int(sys.argv[2]) if len(sys.argv) > 2 else 40)), encoding="utf-8")
