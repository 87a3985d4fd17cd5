"""Judges: plug-ins that score one or several dimensions of sibling instructions.

A judge returns a score only if its model gave one; what it could not read is absent (design, law 6).
"""

from workers.judges.score import Candidate, Judge, Scores, arranged
from workers.judges.select import judges_for

__all__ = ["Candidate", "Judge", "Scores", "arranged", "judges_for"]
