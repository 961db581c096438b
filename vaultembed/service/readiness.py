"""Whether anything answers a search by meaning, and if not, why."""

from __future__ import annotations

from pathlib import Path

from vaultembed.archive.database import Archive, open_archive_readonly
from vaultembed.archive.generations.coverage import speaks_for
from vaultembed.archive.generations.records import Generation, list_generations
from vaultembed.errors import IndexBuildingError, NoGenerationError, NotReadyError
from vaultembed.search.answering import Serving, find_serving, model_unknown


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
    if not any(generation.is_checked for generation in (serving.main, serving.building) if generation is not None):
        return model_unknown(serving.main)  # adopted: until its model is found, words are what there is
    return None


def generation_that_answers(archive_path: Path) -> Generation | None:
    """The main one; its model is the one to have ready. None where nothing answers by meaning.

    Raises: as `open_archive_readonly`.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        serving = find_serving(archive)
        return None if serving is None or why_silent(archive, serving) else serving.main
