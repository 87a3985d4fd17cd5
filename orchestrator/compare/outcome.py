"""What a comparison is made of: what came of each recipe's trees, and what they were grown and judged by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.config import Bench

BENCHES: tuple[Bench, ...] = ("search", "held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """One text's rewards: by the judge that steered the search, and by the one that no search saw."""

    search: float | None = None
    held_out: float | None = None

    def by(self, bench: Bench) -> float | None:
        return self.search if bench == "search" else self.held_out


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOutcome:
    """What one seed's tree came to. `harvest` holds its best nodes, `calls` what they took to find.

    Calls are those for evolutions and their scores, replayed ones included, the seed's own scores not. The nodes are
    evolved ones: scored, rejected, or lost to a failure.
    """

    root: Marks
    harvest: tuple[Marks, ...]
    calls: int
    scored: int
    rejected: int
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one arm's run came to. `recipe` is the arm's name, `trees` are in the order of the seeds.

    `rewards` are all that each judge gave to any node of the run. `paid` and `replayed` count every call of the run,
    those to the held-out judge included; `seconds` are those in which it was driven.
    """

    recipe: str
    run: str
    trees: tuple[TreeOutcome, ...]
    rewards: Mapping[Bench, tuple[float, ...]]
    paid: int
    replayed: int
    seconds: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all recipes had in common: models by the names that their endpoints give them, manners of judging in words.

    `same_model`: the held-out judge is the search judge's model with other prompts. `differs`: for each arm, its
    options of search, diversity and harvest that are not those of its recipe as it comes.
    """

    evolver: str
    judge: str
    judged_by: str
    examiner: str
    examined_by: str
    same_model: bool
    max_calls: int
    share: int
    top: int
    differs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
