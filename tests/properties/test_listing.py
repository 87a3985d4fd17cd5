"""What was listed is read back, whatever the numbers; and nothing that a model writes breaks the reading."""

from hypothesis import given
from hypothesis import strategies as st

from workers.contracts import Instance
from workers.generation import listing
from workers.generation.cleaning import cleaned

_WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCÄßéжщ中文'-,", min_size=1, max_size=9).filter(lambda w: w[0].isalpha())
_TEXTS = st.lists(_WORDS, min_size=1, max_size=12).map(" ".join)
_LABELS = ("input", "output", "answer", "label", "class", "example", "instance", "instruction", "task", "none", "na")
_PLAIN = _TEXTS.filter(lambda text: text.split()[0].lower().strip("',-") not in _LABELS and "none" not in text.lower())


@given(
    st.lists(_PLAIN, min_size=1, max_size=20),
    st.integers(1, 99),
    st.sampled_from(["{}. ", "{}) ", "({}) ", "Task {}: ", "- "]),
)
def test_a_list_is_read_back(items: list[str], first: int, mark: str):
    text = "\n".join(mark.format(first + i) + item for i, item in enumerate(items))
    assert listing.listed(text) == items
    assert listing.listed("Sure, here are some tasks:\n\n" + text.replace("\n", "\n\n")) == items


@given(st.lists(st.tuples(st.one_of(st.just(""), _PLAIN), _PLAIN), min_size=1, max_size=6), st.booleans())
def test_instances_are_read_back(pairs: list[tuple[str, str]], output_first: bool):
    blocks = []
    for number, (given_, made) in enumerate(pairs, 1):
        lines = [f"Input: {given_ or '(none)'}", f"{'Label' if output_first else 'Output'}: {made}"]
        blocks += [f"Example {number}", *(lines[::-1] if output_first else lines)]
    found = listing.instances("\n".join(blocks), output_first=output_first)
    assert [(one.input, one.output) for one in found] == pairs


@given(st.lists(st.tuples(_PLAIN, st.one_of(st.just(""), _PLAIN), _PLAIN), min_size=1, max_size=6), st.integers(1, 17))
def test_whole_tasks_are_read_back(tasks: list[tuple[str, str, str]], first: int):
    text = "\n".join(
        f"###\n{n}. Instruction: {a}\n{n}. Input: {b or '<noinput>'}\n{n}. Output: {c}"
        for n, (a, b, c) in enumerate(tasks, first)
    )
    assert [(task.instruction, task.input, task.output) for task in listing.tasks(text)] == tasks


@given(st.text(max_size=300))
def test_anything_can_be_read(text: str):
    assert all(item == listing.squeezed(item) and item for item in listing.listed(text))
    assert all(task.instruction for task in listing.tasks(text))
    assert isinstance(listing.instances(text, output_first=True), list)


@given(
    st.lists(
        st.builds(Instance, input=st.sampled_from(["", "a", "b:", "c"]), output=st.sampled_from(["", "1", "2", "c"]))
    ),
    st.integers(1, 4),
    st.booleans(),
)
def test_cleaning_loses_nothing_and_keeps_no_more_than_wanted(found: list[Instance], most: int, cut: bool):
    kept = cleaned(found, most=most, cut=cut)
    assert [(one.input, one.output) for one in kept] == [(one.input, one.output) for one in found]
    good = [one for one in kept if one.rejected is None]
    assert len(good) <= most
    assert len({(one.input, one.output) for one in good}) == len(good)
    assert all(one.output and one.input != one.output for one in good)
    inputs = [one.input for one in good if one.input]
    assert len(inputs) == len(set(inputs))
    assert not (cut and found and kept[-1].rejected is None)
