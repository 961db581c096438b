"""Whether anything answers a search by meaning, and if not, why."""

from __future__ import annotations

from vaultembed.archive.database import Archive
from vaultembed.archive.generations import list_generations
from vaultembed.archive.serving import speaks_for
from vaultembed.errors import IndexBuildingError, NoGenerationError, NotReadyError
from vaultembed.search.serving import Serving


def why_silent(archive: Archive, serving: Serving | None) -> NotReadyError | None:
    """None where a generation can answer (its model, this does not look at)."""
    if serving is None:
        if any(generation.state == "retired" for generation in list_generations(archive)):
            return NoGenerationError("no generation is active", "Next: vaultembed embeddings list")
        return NoGenerationError("nothing is embedded yet", "Next: vaultembed embeddings build")
    if serving.main.state == "building" and not speaks_for(archive, serving.main):
        return IndexBuildingError(
            f"generation {serving.main.id} is being built, and has embedded nothing yet",
            "Next: vaultembed embeddings build. How far it is: vaultembed embeddings",
        )
    return None
