"""Which judges a run's settings ask for."""

from workers.config import Role, WorkSettings
from workers.judges.expected import Expected
from workers.judges.rubric import Rubric
from workers.judges.score import Judge
from workers.judges.tags import Tags


def judges_for(settings: WorkSettings) -> list[Judge]:
    """One judge per way of scoring; dimensions scored the same way share its calls where it can."""
    chosen = settings.judges
    by_kind = {"quality": chosen.quality, "complexity": chosen.complexity}
    rubric = tuple(name for name, kind in by_kind.items() if kind == "rubric")
    expected = tuple(name for name, kind in by_kind.items() if kind == "expected")
    judges: list[Judge] = []
    if rubric:
        judges.append(Rubric(dimensions=rubric, reasks=chosen.reasks))
    if expected:
        judges.append(Expected(dimensions=expected, scale={str(name): line for name, line in chosen.scale.items()}))
    role = settings.role(Role.JUDGE)
    style = settings.endpoint(Role.JUDGE).style
    judges.append(Tags(style=style, most=chosen.max_tags, reasks=chosen.reasks, shown=role.demonstrations))
    return judges
