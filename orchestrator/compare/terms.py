"""The terms of a comparison: what is equal for all its arms, set over every layer and option."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from db.errors import ConfigError
from orchestrator.budget import calls_for
from orchestrator.config import PoolConfig, RunConfig, TreeConfig
from orchestrator.recipes import SEARCHES

# Iterations of idea-mcts: more than its share of calls pays for, so that the calls end a tree, as elsewhere. Not
# without end: where all that it selects is terminal, iterations cost nothing.
_MOST_ITERATIONS = 1000
# So many that the calls end a pool, as they end all its rivals.
_NEVER = 10_000_000


class Conditions(Protocol):
    """What `compare` sets itself."""

    def check(self) -> None:
        """Raises ConfigError when nothing can be compared under these."""

    def options(self, recipe: str) -> Mapping[str, str]:
        """The options that are set, by their place."""
        ...

    def refuse_too_little(self, arm: str, config: RunConfig) -> None:
        """Raises ConfigError when the calls are not enough to begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Of trees: calls of each arm, how many seeds share them, nodes harvested of each tree."""

    max_calls: int
    seeds: int
    top: int

    @property
    def share(self) -> int:
        """The calls of one seed's tree."""
        return self.max_calls // self.seeds

    def check(self) -> None:
        if self.max_calls < 1 or self.top < 1:
            wrong = f"--max-calls {self.max_calls}" if self.max_calls < 1 else f"--top {self.top}"
            raise ConfigError(f"{wrong}: must be above 0")

    def options(self, recipe: str) -> Mapping[str, str]:
        iterations = {"search.iterations": str(min(_MOST_ITERATIONS, max(1, self.share)))}
        return {
            "search.calls": str(max(2, self.share)),
            "harvest.mode": '"estimate"',
            "harvest.per_tree": str(self.top),
            "harvest.size": str(self.top * self.seeds),
            "harvest.held_out": "true",
            "harvest.responses": "false",
            **(iterations if "iterations" in SEARCHES[recipe].model_fields else {}),
        }

    def refuse_too_little(self, arm: str, config: RunConfig) -> None:
        assert isinstance(config, TreeConfig)
        need = calls_for(config.work, config.search.litter)
        if self.share < need:
            raise ConfigError(
                f"--max-calls {self.max_calls}: {self.seeds} seeds get {self.share} calls each, and one litter of "
                f"{arm} takes {need}; give at least {need * self.seeds}, or fewer seeds"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTerms:
    """Of pools: the calls of each arm, for its prompts and for the instances of what it keeps."""

    max_calls: int

    def check(self) -> None:
        if self.max_calls < 1:
            raise ConfigError(f"--max-calls {self.max_calls}: must be above 0")

    def options(self, recipe: str) -> Mapping[str, str]:
        return {"rounds.calls": str(self.max_calls), "rounds.target": str(_NEVER)}

    def refuse_too_little(self, arm: str, config: RunConfig) -> None:
        assert isinstance(config, PoolConfig)
        need = config.rounds.prompts * (1 + config.work.generation.calls_a_text)
        if self.max_calls < need:
            raise ConfigError(
                f"--max-calls {self.max_calls}: one round of {arm}, {config.rounds.prompts} prompts and the instances "
                f"of what they bring, takes {need} or more; give at least {need}, or fewer rounds.prompts"
            )
