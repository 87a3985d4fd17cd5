"""What tasks are about, read for many of them together: texts by key, never carried in messages."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from db import nodes
from db.nodes import Place, Said
from db.records import Json
from workers.bodies.evaluate import EvaluateTexts
from workers.bodies.expand import ExpandTexts
from workers.contracts import (
    EvaluatePayload,
    ExpandPayload,
    Payload,
    PoolPayload,
    RespondPayload,
    TreePayload,
    payload_of,
)
from workers.guards import BRAND_NEW

Texts = ExpandTexts | EvaluateTexts | str


@dataclass(frozen=True, slots=True)
class Brief:
    """What a task of a tree is about."""

    payload: TreePayload
    texts: Texts


Found = Brief | PoolPayload | ValueError | KeyError


def brief_all(connection: Connection, payloads: Sequence[Json]) -> list[Found]:
    """Each task's brief, in this order; of a pool's task the payload alone: what it is about is much, and its own.

    A ValueError in place of a payload that this version does not know, a KeyError in place of a text that is not there.
    """
    known = [_payload(given) for given in payloads]
    texts = iter(
        read_all(
            connection, [one for one in known if isinstance(one, ExpandPayload | EvaluatePayload | RespondPayload)]
        )
    )
    return [_brief(one, texts) for one in known]


def _payload(given: Json) -> Payload | ValueError:
    try:
        return payload_of.validate_python(given)
    except ValueError as unknown:
        return unknown


def _brief(payload: Payload | ValueError, texts: Iterator[Texts | KeyError]) -> Found:
    if not isinstance(payload, ExpandPayload | EvaluatePayload | RespondPayload):
        return payload
    found = next(texts)
    return found if isinstance(found, KeyError) else Brief(payload, found)


def read_all(connection: Connection, payloads: Sequence[TreePayload]) -> list[Texts | KeyError]:
    """The texts of each, in this order; a KeyError in place of those of a task whose node has none."""
    said = nodes.said(connection, {place for payload in payloads for place in _places(payload)})
    parents = {(one.tree_id, one.parent) for one in payloads if isinstance(one, ExpandPayload)}
    lineages = nodes.lineages(connection, parents)
    return [_texts(payload, said, lineages) for payload in payloads]


def _places(payload: TreePayload) -> list[Place]:
    """The nodes whose own text is wanted."""
    if isinstance(payload, ExpandPayload):
        return []
    if isinstance(payload, EvaluatePayload):
        keys = [*payload.nodes, *([payload.parent] if payload.parent else [])]
        return [(payload.tree_id, key) for key in keys]
    return [(payload.tree_id, payload.node)]


def _texts(
    payload: TreePayload, said: Mapping[Place, Said], lineages: Mapping[Place, Sequence[tuple[str | None, str]]]
) -> Texts | KeyError:
    try:
        if isinstance(payload, ExpandPayload):
            return expand_texts(lineages[payload.tree_id, payload.parent])
        if isinstance(payload, EvaluatePayload):
            return _evaluate_texts(payload, said)
        return said[payload.tree_id, payload.node].text
    except KeyError as missing:
        return missing


def expand_texts(lineage: Sequence[tuple[str | None, str]]) -> ExpandTexts:
    """The parent's text, and its topic: the seed's, or that of the nearest brand-new instruction above it.

    `lineage` is (operator, text) from the root down to the parent.
    """
    anchor = lineage[0][1]
    for operator, text in lineage:
        anchor = text if operator == BRAND_NEW else anchor
    return ExpandTexts(parent=lineage[-1][1], anchor=anchor)


def _evaluate_texts(payload: EvaluatePayload, said: Mapping[Place, Said]) -> EvaluateTexts:
    parent = said.get((payload.tree_id, payload.parent)) if payload.parent else None
    return EvaluateTexts(
        nodes={key: said[payload.tree_id, key].text for key in payload.nodes},
        parent=parent.text if parent else None,
        parent_reward=parent.reward if parent else None,
    )
