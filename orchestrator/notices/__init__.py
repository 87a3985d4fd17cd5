"""Being told of a run: a webhook and a command of this machine, called when it ends, stops, pauses or stalls, and when
an endpoint of it is down.
"""

from orchestrator.notices.channels import COMMAND, STALL, VARIABLES, WEBHOOK, Channel, Untold, channels, stall_s
from orchestrator.notices.teller import Teller, telling

__all__ = ["COMMAND", "STALL", "VARIABLES", "WEBHOOK", "Channel", "Teller", "Untold", "channels", "stall_s", "telling"]
