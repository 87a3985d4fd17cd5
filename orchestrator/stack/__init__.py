"""Everything `run` needs on a machine with nothing on it but Python: PostgreSQL, Valkey, a model server, workers.

They come from wheels and run as processes of their own under one folder of the user. Only what is listed here is
for the rest of the program.
"""

from orchestrator.stack.folders import home, locate_home
from orchestrator.stack.model import GEMMA_3_270M, SMOLLM2_135M_INSTRUCT, LocalModel, Model
from orchestrator.stack.programs import Programs, code_version, is_program
from orchestrator.stack.stack import (
    Needs,
    ServiceStatus,
    Stack,
    died,
    down,
    ensure_programs,
    ensure_services,
    find,
    statuses,
)
from orchestrator.stack.state import Say, Service

__all__ = [
    "GEMMA_3_270M",
    "SMOLLM2_135M_INSTRUCT",
    "LocalModel",
    "Model",
    "Needs",
    "Programs",
    "Say",
    "Service",
    "ServiceStatus",
    "Stack",
    "code_version",
    "died",
    "down",
    "ensure_programs",
    "ensure_services",
    "find",
    "home",
    "is_program",
    "locate_home",
    "statuses",
]
