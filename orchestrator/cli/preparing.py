"""What is made sure of before a command spends anything: its configuration, endpoints, places and caps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from db.errors import ConfigError
from db.records import Caps, Spend
from orchestrator import places
from orchestrator.begin import check_seeds
from orchestrator.budget import least, least_of_pool
from orchestrator.cli.driving import ready
from orchestrator.cli.say import say
from orchestrator.config import PoolConfig, RunConfig, TreeConfig, build, read_file
from orchestrator.operators import mined_warning
from orchestrator.seeds import Seeds
from workers.config import NUSD_PER_USD
from workers.training.student import check_student


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that may begin: its models have answered, and its database is there."""

    config: RunConfig
    found: places.Places
    engine: Engine


def prepare(recipe: str, config_file: Path | None, options: Sequence[str], seeds: Seeds, caps: Caps) -> Prepared:
    """Nothing is spent, and nothing started, before all that can be refused without it has been looked at.

    Raises:
        UserError: something cannot be used; the message names the cause and the cure.
    """
    file = read_file(config_file) if config_file else {}
    config = build(recipe, [places.settings(config_file), file], options)
    if isinstance(config, PoolConfig):
        check_seeds(config, seeds)
    own_endpoint = places.has_endpoint(config_file)
    if own_endpoint:  # looked at before anything is started for it
        config = _ready(config, places.model_environment(config_file, say), caps)
    found = places.find_places(config_file, say)
    _warn(config, found)
    engine = places.open_places(found)
    if not own_endpoint:
        config = _ready(config, found.environment(), caps)
    return Prepared(config=config, found=found, engine=engine)


def _warn(config: RunConfig, found: places.Places) -> None:
    """What the user should know before anything is spent."""
    if isinstance(config, TreeConfig) and (warning := mined_warning(config.search.operators)):
        say(warning)
    if isinstance(config, PoolConfig) and config.train and found.local_programs:
        check_student(config.work.student)


def _ready(config: RunConfig, environment: Mapping[str, str], caps: Caps) -> RunConfig:
    config = ready(config, environment, caps)
    _refuse_too_little(config, caps)
    return config


def _refuse_too_little(config: RunConfig, caps: Caps) -> None:
    """A cap that not even the first expansion fits under would only end in an empty data set."""
    need = _least(config)
    for option, each, cap, amount in (
        ("--max-calls", 1, caps.calls, need.calls),
        ("--max-tokens", 1, caps.tokens, need.tokens),
        ("--max-usd", NUSD_PER_USD, caps.nusd, need.nusd),
    ):
        if cap is not None and cap < amount:
            raise ConfigError(
                f"{option} {cap / each:.12g}: the first step may need up to {amount / each:.12g}; raise it, or ask for "
                "less (search.children, search.siblings or rounds.shown, roles.*.max_tokens, roles.*.max_prompt_tokens)"
            )


def _least(config: RunConfig) -> Spend:
    if isinstance(config, TreeConfig):
        return least(config.work, config.search.litter, responses=config.harvest.responses)
    assert isinstance(config, PoolConfig)
    return least_of_pool(config.work, config.rounds.shown)
