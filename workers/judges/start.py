"""Whether the scorers of a run can be had at their endpoints, asked before anything is spent on a run."""

from collections.abc import Sequence

from db.errors import ConfigError, ServiceError
from workers.asking import Answer, Ask
from workers.config import Bench, Dimension, WorkSettings
from workers.contracts import Reason
from workers.judges.expected import Expected, expectation, masses
from workers.judges.select import judges_for
from workers.llm.errors import CallRefused, ModelError, RetryLater
from workers.llm.scrub import one_line
from workers.prompting import Prompt

_ASKED = "Name three kinds of bread and say in one sentence what sets them apart."
_SHOWN = 5
_CURE = "use a server that gives them, or judges.{name} = 'rubric' with a chat endpoint"


async def fit_judges(work: WorkSettings, ask: Ask, bench: Bench = "search") -> tuple[WorkSettings, tuple[str, ...]]:
    """The settings with judges that can be asked, and a line for each dimension that fell back to the rubric.

    Each expected score is asked for once; a rubric is believed. An endpoint that is busy is asked nothing more.

    Raises:
        ConfigError: score tokens do not come back, or log-probabilities do not and the settings say stop.
        ServiceError: the endpoint cannot be used at all.
    """
    fallen: list[Dimension] = []
    for judge in judges_for(work, bench):
        if isinstance(judge, Expected):
            for name in judge.dimensions:
                if not await _scores(work, judge, name, ask, bench):
                    fallen.append("quality" if name == "quality" else "complexity")
    return _with_rubric(work, fallen) if fallen else (work, ())


async def _scores(work: WorkSettings, judge: Expected, name: str, ask: Ask, bench: Bench) -> bool:
    """Whether the endpoint scores; False where it gives no log-probabilities and another way is to be taken."""
    where = f"endpoint {work.role(judge.role).endpoint!r}"
    prompt = judge.prompt(name, _ASKED)
    answer = await _answer(judge, prompt, ask, where)
    if answer is None:
        return True
    found = expectation(answer.first_token or {}, judge.values)
    if found is Reason.NO_LOGPROBS:
        if work.judges.without_logprobs == "fallback" and bench == "search":
            return False
        raise ConfigError(f"{where} gives no log-probabilities, by which {name} is scored: " + _CURE.format(name=name))
    if isinstance(found, Reason):
        raise ConfigError(_unfit(judge, name, answer, where))
    return True


async def _answer(judge: Expected, prompt: Prompt, ask: Ask, where: str) -> Answer | None:
    """What it says; an answer without log-probabilities where it refuses a request for them; None when it is busy."""
    try:
        return await ask(judge.role, prompt)
    except CallRefused as error:
        why = one_line(str(error), limit=160)
        if "logprob" in why.lower():
            return Answer(text="", outcome="ok", call="", replayed=0)
        raise ConfigError(f"{where} refuses to score: {why}") from None
    except RetryLater:
        return None
    except ModelError as error:
        raise ServiceError(f"{where} cannot be asked for scores: {one_line(str(error), limit=160)}") from None


def _unfit(judge: Expected, name: str, answer: Answer, where: str) -> str:
    logprobs = answer.first_token or {}
    mass, off_scale = masses(logprobs, judge.values)
    likely = sorted(logprobs, key=lambda token: -logprobs[token])[:_SHOWN]
    said = ", ".join(repr(one_line(token, limit=20)) for token in likely)
    tokens = f"{judge.scorer.tokens[0]} to {judge.scorer.tokens[-1]}"
    if off_scale > sum(mass.values()):
        return f"{where} scores {name} on another scale than {tokens}, it answers {said}: make prompt and tokens agree"
    return (
        f"{where} does not answer with a score token ({tokens}) for {name} but with {said}: "
        f"set judges.scorers.{name}.prompt and .tokens to what this model was trained on"
    )


def _with_rubric(work: WorkSettings, fallen: Sequence[Dimension]) -> tuple[WorkSettings, tuple[str, ...]]:
    """The same settings with rubrics for these dimensions. Raises ConfigError when the judge cannot chat."""
    judges = work.judges
    scorers = {name: scorer for name, scorer in judges.scorers.items() if name not in fallen}
    changed = judges.model_copy(update={"scorers": scorers, **dict.fromkeys(fallen, "rubric")})
    made = work.model_copy(update={"judges": changed})
    try:
        made.check_judges()
    except ValueError:
        names = " and ".join(fallen)
        raise ConfigError(
            f"no log-probabilities, by which {names} is scored, and no rubric to fall back to: "
            "roles.judge needs an endpoint of style 'chat' for that"
        ) from None
    return made, tuple(
        f"{name}: the endpoint gives no log-probabilities; scored by the rubric instead" for name in fallen
    )
