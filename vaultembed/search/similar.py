"""The vectors of a message as a query: what is like it is found without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaultembed.archive.database import Archive
from vaultembed.search.serving import Answering, Serving, answering_with

if TYPE_CHECKING:
    from vaultembed.models.protocol import Vectors


def voices_like(archive: Archive, serving: Serving, message_id: int) -> Answering | None:
    """What the generations that have embedded the message answer with; None where none has its present text.

    The newer generation speaks for what it has embedded, the older for the rest, as for any query. Where the message
    has no vectors in one of them, the other answers for all that it has.
    """
    from vaultembed.archive.vectors import vector_of_message

    candidates = [generation for generation in (serving.building, serving.main) if generation is not None]
    vectors: dict[int, Vectors] = {}
    for generation in candidates:
        vector = vector_of_message(archive, generation, message_id)
        if vector is not None:
            vectors[generation.id] = vector
    answering = [generation for generation in candidates if generation.id in vectors]
    if not answering:
        return None
    return answering_with(archive, answering, vectors)
