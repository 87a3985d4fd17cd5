"""A process that serves for hours looks for garbage rarely, and still finds it."""

import subprocess
import sys

# Cycles, which only the collector frees, made after what stays; the most that were there at once.
_PROGRAM = """
import gc, weakref
from db.garbage import collect_rarely

class Ring:
    def __init__(self):
        self.own = self

kept = [Ring() for _ in range(1000)]
collect_rarely()
alive, most, rounds = weakref.WeakSet(), 0, []
gc.callbacks.append(lambda phase, info: rounds.append(info["generation"]) if phase == "start" else None)
for number in range(200_000):
    alive.add(Ring())
    most = max(most, len(alive)) if number % 1000 == 0 else most
print(most, len(rounds), len(kept), gc.get_freeze_count() > 1000)
"""


def test_cycles_are_freed_though_looked_for_rarely():
    told = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    most, rounds, kept, frozen = told.stdout.split()
    assert int(most) < 50_000  # of the 200,000 that were made
    assert 0 < int(rounds) < 100  # by default it is some hundreds
    assert (kept, frozen) == ("1000", "True")
