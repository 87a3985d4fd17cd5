"""All figures of the report, computed from the rows of a run."""

from collections.abc import Sequence

from db.records import NodeRow
from orchestrator.report.choice import choose, pairs, ranking
from orchestrator.report.distributions import distributions, flat
from orchestrator.report.fates import depth_shares, example_fates, node_fates
from orchestrator.report.forest import Forest, gather, harvest_of, reward
from orchestrator.report.model import Fates, Harvest, Headline, Interval, Report, RunStory
from orchestrator.report.numbers import describe, difference, finite, interval_of_difference
from orchestrator.report.operators import operator_gains
from orchestrator.report.spending import price, ranked


def summarise(story: RunStory) -> Report:
    """Pure: the same rows give the same report."""
    forest = gather(story)
    harvest = harvest_of(forest)
    gains = ranking(forest)
    nodes, examples = node_fates(forest), example_fates(forest)
    return Report(
        headline=_headline(story, forest, harvest, nodes, examples),
        distributions=distributions(forest.roots(), harvest.nodes),
        operators=operator_gains(forest),
        spend=ranked(story.spend),
        nodes=nodes,
        examples=examples,
        depths=depth_shares(forest),
        pairs=pairs(forest, gains),
        choice=choose(gains),
        flat=flat(forest.nodes.values()),
    )


def _headline(story: RunStory, forest: Forest, harvest: Harvest, nodes: Fates, examples: Fates) -> Headline:
    run = story.run
    before = describe(reward(node) for node in forest.roots()).mean
    after = describe(reward(node) for node in harvest.nodes).mean
    return Headline(
        name=run.name,
        recipe=run.recipe,
        status=run.status,
        reason=run.reason,
        started=run.created_at,
        finished=run.finished_at,
        driven_s=run.driven_s,
        seeds=len(forest.trees),
        seeds_given=run.seeds_given,
        seeds_duplicate=run.seeds_duplicate,
        trees_grown=_count_trees(forest, "grown"),
        trees_cut=_count_trees(forest, "cut"),
        nodes=nodes.total,
        nodes_scored=nodes.by_status["scored"],
        examples_accepted=examples.by_status["accepted"],
        examples_proposed=examples.total,
        calls=run.spent.calls,
        calls_replayed=run.calls_replayed,
        tokens=run.spent.tokens,
        tokens_in=sum(spend.tokens_in for spend in story.spend),
        tokens_out=sum(spend.tokens_out for spend in story.spend),
        nusd=price(story.spend, run.spent.nusd),
        nusd_known=run.spent.nusd,
        caps=run.caps,
        mean_seed=before,
        mean_harvest=after,
        difference=difference(after, before),
        interval=_interval(forest, harvest.nodes),
        harvest_basis=harvest.basis,
    )


def _count_trees(forest: Forest, status: str) -> int:
    return sum(1 for tree in forest.trees if tree.row.status == status)


def _interval(forest: Forest, harvest: Sequence[NodeRow]) -> Interval | None:
    by_tree: dict[int, tuple[float | None, list[float]]] = {root.tree_id: (reward(root), []) for root in forest.roots()}
    for node in harvest:
        if node.tree_id in by_tree:
            by_tree[node.tree_id][1].extend(finite([node.reward]))
    return interval_of_difference(list(by_tree.values()))
