"""The report of a run: rows in, one self-contained page out. Pure: no clock, no database, no network."""

from orchestrator.report.model import NodeCost, Report, RoleSpend, RunStory, TreeStory
from orchestrator.report.page import render
from orchestrator.report.summary import summarise

__all__ = ["NodeCost", "Report", "RoleSpend", "RunStory", "TreeStory", "render", "summarise"]
