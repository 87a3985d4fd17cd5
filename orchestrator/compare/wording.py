"""What is said beside the figures: by whom and how they came about, what was not equal, and what is not claimed."""

from collections.abc import Callable, Mapping, Sequence

from orchestrator.compare.bootstrap import FEWEST, RESAMPLES, Estimate
from orchestrator.compare.figures import Comparison, Lead, Standing
from orchestrator.compare.outcome import BENCHES, Setting
from orchestrator.report.text import shorten, visible
from orchestrator.report.wording import number, percent, signed
from workers.config import Bench

HEADINGS: dict[Bench, str] = {"search": "search judge", "held_out": "held-out judge"}
# A recipe that used less of its calls than this, or more, was not compared at equal spend.
_EQUAL = (0.9, 1.05)
_LONGEST_NAME = 80
_LONGEST_OPTION = 160


def spoken(text: str) -> str:
    """A name from outside, such as a model's, on one line and with nothing hidden in it."""
    return shorten(visible(text), _LONGEST_NAME)


def spread(found: Estimate | None, *, sign: bool = False) -> str:
    """The interval as `[9.90, 10.81]`, or nothing."""
    if found is None or found.interval is None:
        return ""
    shown = signed if sign else number
    return f"[{shown(found.interval[0])}, {shown(found.interval[1])}]"


def mean(found: Estimate | None) -> str:
    return number(found.mean if found else None)


def lead(found: Lead | None) -> str:
    """The lead in points and as a part of the range in use."""
    if found is None:
        return number(None)
    share = "" if found.share is None else f" ({percent(found.share).replace('-', '−')})"
    return f"{signed(found.over.mean)}{share}"


def calls_per_seed(one: Standing) -> float:
    return one.calls / len(one.seeds)


def headline(comparison: Comparison, setting: Setting) -> str:
    """What the table shows, in one line."""
    return (
        f"{len(comparison.standings)} recipes, {_seeds(comparison)}, {setting.share:,} calls a seed: "
        f"mean reward of the best {setting.top}"
    )


def _seeds(comparison: Comparison) -> str:
    count = len(comparison.standings[0].seeds)
    return f"{count:,} seed" + ("s" if count != 1 else "")


def notes(comparison: Comparison, setting: Setting, escape: Callable[[str], str] = str) -> list[str]:
    """Everything a reader has to know, one paragraph each; what comes from outside passes through `escape`."""
    return [
        _judged(setting, lambda text: escape(spoken(text))),
        *options("the recipe as it comes", setting.differs, escape),
        _spend(comparison, setting),
        _meaning(comparison, setting),
        _certainty(comparison),
        *_unequal(comparison, setting),
        *_thin(comparison, setting, lambda text: escape(spoken(text))),
        _claims(),
    ]


def _judged(setting: Setting, shown: Callable[[str], str]) -> str:
    """Which models, asked how."""
    other = "; the same model, with prompts of its own" if setting.same_model else ""
    return (
        f"Evolver: {shown(setting.evolver)}. Search judge: {shown(setting.judge)} ({setting.judged_by}). "
        f"Held-out judge, which no search saw: {shown(setting.examiner)} ({setting.examined_by}{other})."
    )


def options(whose: str, differs: Mapping[str, Sequence[str]], escape: Callable[[str], str]) -> list[str]:
    """In which options arms are not what they are held against; all else is the same for all."""
    said = [
        f"{arm}: {'; '.join(escape(shorten(visible(one), _LONGEST_OPTION)) for one in found)}"
        for arm, found in differs.items()
        if found
    ]
    return [f"Options that are not those of {whose} (there): {'. '.join(said)}."] if said else []


def _spend(comparison: Comparison, setting: Setting) -> str:
    return (
        f"Each recipe had {setting.max_calls:,} calls for evolutions and their scores, {setting.share:,} for each of "
        f"{_seeds(comparison)}, calls replayed from the ledger counted as if they were paid. The scores of the seeds "
        "themselves and the calls of the held-out judge came on top, asked for in the same way for all."
    )


def _meaning(comparison: Comparison, setting: Setting) -> str:
    own = ", ".join(f"{mean(comparison.roots[bench])} by the {HEADINGS[bench]}" for bench in BENCHES)
    return (
        f"A figure is the mean over seeds of the mean reward (quality + diversity + complexity) of the {setting.top} "
        "best nodes of a seed's tree, chosen for all by the same estimate from the search judge's scores. So the "
        "search judge's figure flatters what it chose; the held-out judge had no part in search or choice. "
        f"The seeds themselves have {own}."
    )


def _certainty(comparison: Comparison) -> str:
    used = {bench: found for bench, found in comparison.used.items() if found}
    ranges = " and ".join(
        f"{number(used[bench][0])} to {number(used[bench][1])} ({HEADINGS[bench]})"
        for bench in BENCHES
        if bench in used
    )
    share = f", in brackets as a share of the range in use, the 5th to 95th percentile of all rewards: {ranges}"
    few = f" There are none here: fewer than {FEWEST} seeds." if not _has_interval(comparison) else ""
    return (
        f"Leads are over {comparison.baseline}, seed by seed{share if ranges else ''}. Intervals are 95 % bootstrap "
        f"intervals over seeds ({RESAMPLES:,} resamples).{few}"
    )


def _has_interval(comparison: Comparison) -> bool:
    return any(found and found.interval for one in comparison.standings for found in one.means.values())


def _unequal(comparison: Comparison, setting: Setting) -> list[str]:
    """Recipes whose trees ended early, or whose last litter went beyond the share."""
    low, high = (bound * setting.share for bound in _EQUAL)
    off = [one for one in comparison.standings if not low <= calls_per_seed(one) <= high]
    if not off:
        return []
    used = ", ".join(f"{one.recipe} {number(calls_per_seed(one), 1)}" for one in off)
    return [f"Not quite equal spend: of {setting.share:,} calls a tree, these used on average: {used}."]


def _thin(comparison: Comparison, setting: Setting, shown: Callable[[str], str]) -> list[str]:
    """What the means had to do without."""
    standings, count = comparison.standings, _seeds(comparison)
    counted = (
        (f"Of {count}, so many gave fewer than {setting.top} nodes and count with those", "shorter"),
        (f"Of {count}, so many gave no node, so that the seed itself counts", "bare"),
        ("Harvested nodes that the held-out judge could not score are left out", "unjudged"),
    )
    said: list[str] = []
    for what, kind in counted:
        found = {one.recipe: number for one in standings if (number := _missing(one, kind, setting.top))}
        listed = ", ".join(f"{recipe} {number:,}" for recipe, number in found.items())
        said += [f"{what}: {listed}."] if found else []
    return said + [f"{one.recipe} was stopped: {shown(one.reason)}." for one in standings if one.reason]


def _missing(one: Standing, kind: str, top: int) -> int:
    return {"shorter": one.shorter(top), "bare": one.bare, "unjudged": one.unjudged}[kind]


def _claims() -> str:
    return (
        "Not claimed: one run of each recipe on one model and these seeds says nothing about other models or judges, "
        "and the intervals leave out how a second run would differ. A small local model shows that the machine works; "
        "it confirms and refutes no published result."
    )
