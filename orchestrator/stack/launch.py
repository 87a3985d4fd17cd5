"""Starts one process that belongs to nobody's terminal, and ends. Run as a script: reads the order from stdin as JSON.

It stands between so that the daemon's parent is gone at once: the daemon is then the system's child, is never
left a zombie by a long-lived command that started it, and gets no signal typed at a terminal. Its output goes where
this script's stderr goes. The environment, which may hold keys, comes through the pipe and not through arguments.
"""

import json
import os
import subprocess
import sys
from typing import Any


def main() -> None:
    order = json.load(sys.stdin)
    as_user: dict[str, Any] = {}
    if order["account"] is not None:
        as_user = {"user": order["account"]["uid"], "group": order["account"]["gid"], "extra_groups": []}
    os.umask(0o077)
    try:
        daemon = subprocess.Popen(
            order["argv"],
            env=order["env"],
            cwd=order["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            stderr=sys.stderr.fileno(),
            start_new_session=True,
            **as_user,
        )
        answer: dict[str, Any] = {"pid": daemon.pid}
    except (OSError, subprocess.SubprocessError) as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # the daemon must outlive this process: no clean-up of the handle on it


if __name__ == "__main__":
    main()
