"""The report of a run: rows in, one self-contained page out. Pure: no clock, no database, no network."""

from orchestrator.report.model import NodeCost, Report, RoleSpend, RunStory, TreeStory
from orchestrator.report.page import render
from orchestrator.report.pool_model import PoolStory
from orchestrator.report.pool_page import render_pool
from orchestrator.report.summary import summarise

__all__ = [
    "NodeCost",
    "PoolStory",
    "Report",
    "RoleSpend",
    "RunStory",
    "TreeStory",
    "render",
    "render_pool",
    "summarise",
]
