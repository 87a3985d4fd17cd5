"""Recipes: how trees are grown, as options that a user may set, and the policy of the search core that they make."""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from orchestrator.search import Choice, IdeaMcts, Plan, Policy, Rule, Stepwise
from orchestrator.search.choice import Rotate, Thompson, Uniform
from orchestrator.search.rules.beam import Beam
from orchestrator.search.rules.best_of_n import BestOfN
from orchestrator.search.rules.chains import EvolChains
from orchestrator.search.rules.front import PacedFront
from orchestrator.search.rules.gradient import GradientFront
from orchestrator.search.rules.greedy import Greedy
from orchestrator.search.rules.random_parent import RandomParent
from orchestrator.search.rules.uct import TunedUct
from orchestrator.search.select import Uct
from orchestrator.search.tree import NO_LIMIT
from workers.config import EVOL_OPERATORS, GENERAL_OPERATORS, Settings

# At equal calls, litters of four that one call judges are worth more than any policy: docs/benchmarks/search.md.
_JUDGED_TOGETHER = 4
# In points of reward: the default scale of the operator rule. A tree would not live to see a larger one refuted.
MOST_PRIOR = 10.0
Prior = Annotated[float, Field(ge=-MOST_PRIOR, le=MOST_PRIOR, allow_inf_nan=False)]


class SearchSettings(Settings, ABC):
    """What all recipes share.

    `calls` is a tree's own share, in calls for texts and their scores, replayed ones counted as if they were paid: what
    makes recipes comparable.
    """

    operators: tuple[str, ...] = GENERAL_OPERATORS
    calls: int | None = Field(default=None, ge=2, le=10_000_000)

    @property
    @abstractmethod
    def litter(self) -> int:
        """The most evolutions that one task makes."""

    @property
    def least_litter(self) -> int:
        """How many evolutions are judged together at the least, the last ones of a tree not counted."""
        return self.litter

    @abstractmethod
    def policy(self, depth: int | None = None) -> Policy:
        """The policy, with this depth limit instead of its own where it has learnt a better one."""

    def settled(self, *, judged_together: bool) -> "SearchSettings":
        """The same with what depends on the judge: whether one call of it scores all siblings."""
        return self

    @property
    def pilots(self) -> int:
        """How many trees are grown first, to learn the depth limit of all others."""
        return 0

    def pilot_policy(self) -> Policy:
        """The policy of those."""
        return self.policy()


class IdeaMctsSearch(SearchSettings):
    """Recipe `idea-mcts`. Defaults are the published constants or, where the paper is silent, our pick.

    `docs/recipes.md` gives the reason of each.
    """

    exploration: float = Field(default=1.0, ge=0, le=100)
    square_root: bool = True
    child_initialisation: Literal["own-score", "unvisited"] = "own-score"
    backup: Literal["mean", "max"] = "mean"
    normalise: bool = False
    iterations: int = Field(default=3, ge=1, le=1000)
    children: int = Field(default=5, ge=1, le=64)
    max_depth: int = Field(default=4, ge=1, le=64)
    stop_reward: float = Field(default=10.0, ge=0, le=1000)
    distinct_operators: bool = True
    simulate_child: Literal["best", "random"] = "best"
    simulation_attempts: int = Field(default=2, ge=1, le=12)

    @property
    def litter(self) -> int:
        return self.children

    @property
    def least_litter(self) -> int:
        return 1  # a step of a simulation

    def policy(self, depth: int | None = None) -> IdeaMcts:
        uct = Uct(
            exploration=self.exploration,
            square_root=self.square_root,
            count_own_score=self.child_initialisation == "own-score",
            backup=self.backup,
            normalise=self.normalise,
        )
        return IdeaMcts(
            operators=self.operators,
            uct=uct,
            iterations=self.iterations,
            children=self.children,
            max_depth=self.max_depth,
            stop_reward=self.stop_reward,
            distinct_operators=self.distinct_operators,
            simulate_child=self.simulate_child,
            simulation_attempts=self.simulation_attempts,
        )


class StepwiseSearch(SearchSettings, ABC):
    """What the recipes share that choose one parent after another.

    `nodes` is the budget of a tree in evolutions, the same for every seed (policies.md, 5). `depth` is a limit, or
    `learnt`: from `pilot` trees that are grown first, where there are at least four times as many seeds. `siblings` is
    the size of a litter; unset, four where one call judges them together. `order` says when a result is taken into
    account: `issue` makes a run the same whatever the workers, `arrival` may be faster where one tree is grown alone.
    `points` is how far rewards can lie apart: the scale of the operator rule. `operator_priors` is what operators are
    expected to gain beyond the mean before a tree knows better, in points of reward.
    """

    nodes: int = Field(default=32, ge=1, le=1_000_000)
    depth: int | Literal["learnt"] = Field(default="learnt")
    pilot: int = Field(default=4, ge=1, le=100)
    pilot_depth: int = Field(default=8, ge=2, le=64)
    unlearnt_depth: int = Field(default=6, ge=1, le=64)
    siblings: int | None = Field(default=None, ge=1, le=6)
    in_flight: int | None = Field(default=None, ge=1, le=1024)
    order: Literal["issue", "arrival"] = "issue"
    operator_choice: Literal["thompson", "rotate", "uniform"] = "thompson"
    points: float = Field(default=10.0, gt=0, le=1000)
    operator_priors: dict[str, Prior] = Field(default={})

    @field_validator("depth", mode="before")
    @classmethod
    def _a_depth(cls, value: object) -> object:
        is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 64
        if value != "learnt" and not is_number:
            raise ValueError(f"{value!r} must be 'learnt', or a number from 1 to 64")
        return value

    @model_validator(mode="after")
    def _priors_have_a_use(self) -> "StepwiseSearch":
        if self.operator_priors and self.operator_choice != "thompson":
            raise ValueError(f"operator_priors need operator_choice = 'thompson', not {self.operator_choice!r}")
        if strange := sorted(set(self.operator_priors) - set(self.operators)):
            known = ", ".join(self.operators)
            raise ValueError(f"operator_priors name {strange[0]!r}, which is not in search.operators: {known}")
        return self

    @property
    def litter(self) -> int:
        return self.siblings or 1

    def settled(self, *, judged_together: bool) -> "StepwiseSearch":
        siblings = self.siblings or (_JUDGED_TOGETHER if judged_together else 1)
        return self.model_copy(update={"siblings": siblings})

    @property
    def pilots(self) -> int:
        return self.pilot if self.depth == "learnt" else 0

    def pilot_policy(self) -> Stepwise:
        return self.policy(self.pilot_depth)

    @abstractmethod
    def rule(self) -> Rule: ...

    def policy(self, depth: int | None = None) -> Stepwise:
        limit = depth or (self.unlearnt_depth if self.depth == "learnt" else self.depth)
        return Stepwise(plan=self._plan(limit), rule=self.rule(), choice=self.choice())

    def choice(self) -> Choice:
        if self.operator_choice == "thompson":
            return Thompson(unit=self.points, priors=tuple(sorted(self.operator_priors.items())))
        return Rotate() if self.operator_choice == "rotate" else Uniform()

    def _plan(self, depth: int) -> Plan:
        # policies.md, 4: at most budget / (2 x depth limit) in flight, or every policy loses.
        in_flight = self.in_flight or max(1, min(8, self.nodes // (2 * depth * self.litter)))
        return Plan(
            operators=self.operators,
            budget=NO_LIMIT if self.calls else self.nodes,
            max_depth=depth,
            siblings=self.litter,
            in_flight=in_flight * self.litter,
            window=in_flight if self.order == "issue" else None,
        )


class PacedFrontSearch(StepwiseSearch):
    """Recipe `paced-front` (policies.md, 1)."""

    below: int = Field(default=1, ge=0, le=64)
    wide: float = Field(default=1.0, gt=0, le=100)
    kappa: float = Field(default=1.5, gt=0, le=100)

    def rule(self) -> PacedFront:
        return PacedFront(below=self.below, wide=self.wide, kappa=self.kappa)


class GradientFrontSearch(StepwiseSearch):
    """Recipe `gradient-front`: the paced front with a price on use, then the knowledge gradient (decision 9)."""

    below: int = Field(default=1, ge=0, le=64)
    price: float = Field(default=0.3, ge=0, le=100)
    tail: float = Field(default=0.4, ge=0, le=1)
    kappa: float = Field(default=3.0, gt=0, le=100)

    def rule(self) -> GradientFront:
        return GradientFront(below=self.below, price=self.price, tail=self.tail, kappa=self.kappa)


class UctSearch(StepwiseSearch):
    """Recipe `uct`, tuned: normalised values, a small constant, progressive widening (search.md, 4)."""

    exploration: float = Field(default=0.1, ge=0, le=100)
    widening: float = Field(default=1.0, gt=0, le=100)
    exponent: float = Field(default=0.5, gt=0, le=1)

    def rule(self) -> TunedUct:
        return TunedUct(exploration=self.exploration, widening=self.widening, exponent=self.exponent)


class BeamSearch(StepwiseSearch):
    """Recipe `beam`."""

    width: int = Field(default=4, ge=1, le=1000)

    def rule(self) -> Beam:
        return Beam(width=self.width)


class GreedySearch(StepwiseSearch):
    """Recipe `greedy`: always the best node so far."""

    operator_choice: Literal["thompson", "rotate", "uniform"] = "rotate"

    def rule(self) -> Greedy:
        return Greedy()


class BestOfNSearch(StepwiseSearch):
    """Recipe `best-of-n`: evolutions of the seed alone."""

    operator_choice: Literal["thompson", "rotate", "uniform"] = "rotate"
    depth: int | Literal["learnt"] = 1

    def rule(self) -> BestOfN:
        return BestOfN()


class RandomSearch(StepwiseSearch):
    """Recipe `random`: any node, any operator."""

    operator_choice: Literal["thompson", "rotate", "uniform"] = "uniform"
    depth: int | Literal["learnt"] = 6

    def rule(self) -> RandomParent:
        return RandomParent()


class EvolInstructSearch(StepwiseSearch):
    """Recipe `evol-instruct`: chains of four rounds by operators at random (papers.md, 3.3)."""

    operators: tuple[str, ...] = EVOL_OPERATORS
    operator_choice: Literal["thompson", "rotate", "uniform"] = "uniform"
    depth: int | Literal["learnt"] = 4
    eliminate_worse: bool = False

    def rule(self) -> EvolChains:
        return EvolChains(eliminate=self.eliminate_worse)


SEARCHES: dict[str, type[SearchSettings]] = {
    "idea-mcts": IdeaMctsSearch,
    "paced-front": PacedFrontSearch,
    "gradient-front": GradientFrontSearch,
    "uct": UctSearch,
    "beam": BeamSearch,
    "greedy": GreedySearch,
    "best-of-n": BestOfNSearch,
    "evol-instruct": EvolInstructSearch,
    "random": RandomSearch,
}
