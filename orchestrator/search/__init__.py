"""The search core: decides where to evolve next. Standard library only; no clock, no global random, no I/O.

A caller owns a `Tree` and drives it in a loop::

    step = policy.ask(tree)      # proposals to carry out, and rollouts that were backed up
    tell(tree, outcome)          # what came of one proposed node, in any order, any number of times
    release(tree, key)           # a proposal that will not be carried out after all

Texts never enter here: the core knows keys, operators and rewards.
"""

from orchestrator.search.harvest import best, candidates
from orchestrator.search.idea_mcts import IdeaMcts
from orchestrator.search.policy import Policy
from orchestrator.search.replay import replay
from orchestrator.search.snapshot import restore, snapshot
from orchestrator.search.stepwise import Choice, Plan, Rule, Stepwise
from orchestrator.search.tree import (
    Evaluate,
    Expand,
    Failed,
    Grown,
    Node,
    Origin,
    Outcome,
    Proposal,
    Rejected,
    Rollout,
    Scored,
    Status,
    Step,
    Tally,
    Tree,
    Unscored,
    plant,
    release,
    tell,
)

__all__ = [
    "Choice",
    "Evaluate",
    "Expand",
    "Failed",
    "Grown",
    "IdeaMcts",
    "Node",
    "Origin",
    "Outcome",
    "Plan",
    "Policy",
    "Proposal",
    "Rejected",
    "Rollout",
    "Rule",
    "Scored",
    "Status",
    "Step",
    "Stepwise",
    "Tally",
    "Tree",
    "Unscored",
    "best",
    "candidates",
    "plant",
    "release",
    "replay",
    "restore",
    "snapshot",
    "tell",
]
