"""The rows of a run, found by what they are to each other."""

from collections.abc import Mapping
from dataclasses import dataclass

from db.records import ExampleRow, NodeRow
from orchestrator.report.model import Harvest, NodeId, RunStory, TreeStory
from orchestrator.report.numbers import finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """All trees of a story. A node without a parent is the seed of its tree."""

    trees: tuple[TreeStory, ...]
    nodes: Mapping[NodeId, NodeRow]
    examples: Mapping[NodeId, ExampleRow]

    def parent(self, node: NodeRow) -> NodeRow | None:
        return None if node.parent_key is None else self.nodes.get((node.tree_id, node.parent_key))

    def path(self, node: NodeRow) -> tuple[NodeRow, ...]:
        """From the seed down to the node."""
        found = [node]
        while (above := self.parent(found[-1])) is not None and len(found) <= len(self.nodes):
            found.append(above)
        return tuple(reversed(found))

    def roots(self) -> tuple[NodeRow, ...]:
        return tuple(node for node in self.nodes.values() if node.parent_key is None)

    def example(self, node: NodeRow) -> ExampleRow | None:
        return self.examples.get((node.tree_id, node.key))


def gather(story: RunStory) -> Forest:
    return Forest(
        trees=tuple(sorted(story.trees, key=lambda tree: tree.row.ordinal)),
        nodes={(node.tree_id, node.key): node for tree in story.trees for node in tree.nodes},
        examples={(example.tree_id, example.node_key): example for example in story.examples},
    )


def root_of(tree: TreeStory) -> NodeRow | None:
    return next((node for node in tree.nodes if node.parent_key is None), None)


def reward(node: NodeRow | None) -> float | None:
    """The node's reward if it is there and a number."""
    return next(iter(finite([node.reward])), None) if node is not None else None


def harvest_of(forest: Forest) -> Harvest:
    """The accepted examples' nodes; while none is accepted, those of every example proposed."""
    accepted = {place for place, example in forest.examples.items() if example.status == "accepted"}
    chosen = accepted or set(forest.examples)
    nodes = tuple(forest.nodes[place] for place in forest.examples if place in chosen and place in forest.nodes)
    basis = "none" if not nodes else "accepted" if accepted else "proposed"
    return Harvest(basis=basis, nodes=nodes)
