"""What the arms of a comparison of pools have in common, and what they have not, in words."""

from collections.abc import Sequence

from orchestrator.begin import differences
from orchestrator.compare.arms import Arm
from orchestrator.compare.pools.figures import baseline_of
from orchestrator.compare.pools.outcome import PoolSetting
from workers.config import Role


def pool_setting(arms: Sequence[Arm], *, seeds: int, max_calls: int) -> PoolSetting:
    """Models by the names that their endpoints give them, as the baseline has them."""
    name = baseline_of([arm.name for arm in arms])
    base = next(arm for arm in arms if arm.name == name)
    work = base.config.work
    return PoolSetting(
        generator=work.endpoint(Role.GENERATOR).model,
        responder=work.endpoint(Role.RESPONDER).model,
        embedder=work.embedder,
        student=work.student.model,
        seeds=seeds,
        max_calls=max_calls,
        baseline=name,
        differs={arm.name: _differs(base, arm) for arm in arms if arm.name != name},
    )


def _differs(base: Arm, arm: Arm) -> tuple[str, ...]:
    found = differences(base.config.model_dump(mode="json"), arm.config.model_dump(mode="json"))
    return tuple(one for one in found if not one.startswith("recipe is "))
