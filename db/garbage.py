"""Python's collector of cyclic garbage, for a process that serves for hours.

By default it looks through everything a process has made, libraries included, every few thousand calls to a model: a
tenth of a worker's processor time (`make bench`). Most of what we make is freed without it.
"""

import gc

# Objects that may hold others, made and not freed, until the young are looked through; rounds of that until those that
# survived one are; rounds of those until all are (and not before they have grown by a quarter).
_YOUNG, _MIDDLE, _OLD = 20_000, 20, 20


def collect_rarely() -> None:
    """To be called when a process is built: what it has by now stays for good, and is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
