"""How Self-Instruct cleans the instances of one instruction (papers.md, 3.1, step 4)."""

from collections.abc import Callable, Sequence

from workers.contracts import Instance, Reason

# So do those end that were going to go on.
_UNFINISHED = (":", "：")

_NOTHING = ("(none)", "<noinput>", "<nooutput>")

Fault = Callable[[Instance], Reason | None]


def cleaned(
    found: Sequence[Instance], *, most: int, cut: bool = False, fault: Fault | None = None
) -> tuple[Instance, ...]:
    """All of them in their order, the refused ones each with its reason; at most `most` are good.

    cut: the last one was cut off by length. fault: what else speaks against one by itself.
    """
    kept: list[Instance] = []
    for place, instance in enumerate(found):
        reason = Reason.CUT_OFF if cut and place == len(found) - 1 else _own_fault(instance)
        reason = reason or (fault(instance) if fault else None)
        if reason is None and any(_same(instance, other) for other in kept if other.rejected is None):
            reason = Reason.REPEATED_INSTANCE
        kept.append(instance.model_copy(update={"rejected": reason}))
    if _contradict([instance for instance in kept if instance.rejected is None]):
        return tuple(_refused(instance, Reason.CONTRADICTORY) for instance in kept)
    return _at_most(kept, most)


def good(instances: Sequence[Instance]) -> bool:
    """Whether one of them can be trained on."""
    return any(instance.rejected is None for instance in instances)


def _own_fault(instance: Instance) -> Reason | None:
    given, made = instance.input.strip(), instance.output.strip()
    if not any(map(str.isprintable, made.replace(" ", ""))) or made.lower() in _NOTHING:
        return Reason.EMPTY
    if given == made:
        return Reason.SAME_AS_INPUT
    return Reason.UNFINISHED if given.endswith(_UNFINISHED) or made.endswith(_UNFINISHED) else None


def _same(a: Instance, b: Instance) -> bool:
    return (a.input, a.output) == (b.input, b.output)


def _contradict(instances: Sequence[Instance]) -> bool:
    """Whether one input has two outputs: then nobody knows which of the instances are right."""
    outputs: dict[str, str] = {}
    return any(outputs.setdefault(one.input, one.output) != one.output for one in instances if one.input)


def _refused(instance: Instance, reason: Reason) -> Instance:
    return instance if instance.rejected else instance.model_copy(update={"rejected": reason})


def _at_most(instances: Sequence[Instance], most: int) -> tuple[Instance, ...]:
    left, kept = most, []
    for instance in instances:
        kept.append(instance if left else _refused(instance, Reason.NOT_SAMPLED))
        left -= left > 0 and instance.rejected is None
    return tuple(kept)
