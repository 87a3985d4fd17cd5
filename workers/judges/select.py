"""Which judges a run's settings ask for. A new way of scoring is a class, a name in `Judges`, and a line here."""

from collections.abc import Callable, Mapping, Sequence

from workers.config import DIMENSIONS, Bench, Dimension, Role, Scorer, Style, WorkSettings
from workers.judges.expected import Expected
from workers.judges.rubric import Rubric
from workers.judges.score import Judge
from workers.judges.tags import Tags

# Makes the judges for those dimensions that are scored in one way.
Builder = Callable[[WorkSettings, Sequence[Dimension]], Sequence[Judge]]


def judges_for(settings: WorkSettings, bench: Bench = "search") -> list[Judge]:
    """One judge per way of scoring; dimensions scored the same way share its calls where it can.

    The held-out judge has prompts of its own: a rubric where its endpoint can chat, expected scores elsewhere.
    """
    if bench == "held_out":
        return _held_out(settings)
    found: list[Judge] = []
    for kind, builder in _BUILDERS.items():
        dimensions = [name for name in DIMENSIONS if settings.judges.kind(name) == kind]
        found.extend(builder(settings, dimensions) if dimensions else ())
    return [*found, _tags(settings, Role.JUDGE)]


def _rubric(settings: WorkSettings, dimensions: Sequence[Dimension]) -> Sequence[Judge]:
    chosen = settings.judges
    return [Rubric(dimensions=tuple(dimensions), reasks=chosen.reasks, repeats=chosen.repeats)]


def _expected(settings: WorkSettings, dimensions: Sequence[Dimension]) -> Sequence[Judge]:
    """One for those that our own prompt scores, and one for each with a scorer of its own."""
    ours = tuple(name for name in dimensions if name not in settings.judges.scorers)
    groups = [ours] if ours else []
    return [_expecting(settings, group) for group in [*groups, *((name,) for name in dimensions if name not in ours)]]


def _expecting(settings: WorkSettings, dimensions: tuple[Dimension, ...]) -> Judge:
    role = settings.scores(dimensions[0])
    return Expected(
        dimensions=dimensions,
        scale=_lines(settings.judges.scale, dimensions),
        later={name: settings.judges.later_scale[name] for name in dimensions if name in settings.judges.later_scale},
        scorer=settings.judges.scorers.get(dimensions[0], Scorer()),
        role=role,
        style=settings.endpoint(role).style,
        repeats=settings.repeats(dimensions[0]),
    )


def _lines(
    fitted: Mapping[Dimension, tuple[float, float]], dimensions: Sequence[Dimension]
) -> Mapping[str, tuple[float, float]]:
    return {name: fitted[name] for name in dimensions if name in fitted}


_BUILDERS: Mapping[str, Builder] = {"rubric": _rubric, "expected": _expected}


def _held_out(settings: WorkSettings) -> list[Judge]:
    chosen, role = settings.judges, Role.EXAMINER
    scorer: Judge
    if settings.endpoint(role).style is Style.CHAT:
        scorer = Rubric(dimensions=DIMENSIONS, reasks=chosen.reasks, role=role)
    else:
        scorer = Expected(dimensions=DIMENSIONS, scale=_lines(chosen.held_out_scale, DIMENSIONS), role=role)
    return [scorer, _tags(settings, role)]


def _tags(settings: WorkSettings, role: Role) -> Judge:
    return Tags(
        style=settings.endpoint(role).style,
        most=settings.judges.max_tags,
        reasks=settings.judges.reasks,
        shown=settings.role(role).demonstrations,
        role=role,
    )
