"""The content key: equal for two calls exactly when they ask the same thing of the same model."""

import hashlib
import json

from workers.llm.request import Request
from workers.llm.wire import body, path

# Raised when the meaning of a key changes, so that old answers are not taken for new ones.
_VERSION = 1


def content_key(request: Request) -> str:
    """SHA-256 over the path, the body as it is sent, and the sample ordinal.

    The address, endpoint name, deadline, run and role do not enter: they do not change the answer.
    """
    asked = {"version": _VERSION, "path": path(request.style), "body": body(request), "sample": request.sample}
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
