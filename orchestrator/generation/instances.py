"""From what became of one instruction's instances to rows of examples. Pure."""

from db.records import InstanceRow
from workers.contracts import InstantiateResult, Reason


def instance_rows(ordinal: int, text: str, result: InstantiateResult) -> list[InstanceRow]:
    """One row for each instance, good or bad; where there is none at all, one that says why."""
    rows = [
        InstanceRow(
            ordinal=ordinal,
            instance=number,
            instruction=text,
            input=found.input,
            output=found.output or None,
            status="rejected" if found.rejected else "accepted",
            reason=found.rejected,
        )
        for number, found in enumerate(result.instances)
    ]
    if rows:
        return rows
    status = "failed" if result.failed else "rejected"
    reason = result.failed or result.rejected or Reason.NO_INSTANCE
    return [
        InstanceRow(ordinal=ordinal, instance=0, instruction=text, input="", output=None, status=status, reason=reason)
    ]
