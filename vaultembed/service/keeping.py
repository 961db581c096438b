"""What a server keeps between searches: the model of the generation that answers, and the coarse indexes."""

from __future__ import annotations

from pathlib import Path

from vaultembed.archive.conditions import shown_by
from vaultembed.archive.database import Within as Within
from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.generations.records import Generation as Generation
from vaultembed.errors import QueryError
from vaultembed.models.errors import EmbedderCrashedError as EmbedderCrashedError
from vaultembed.models.protocol import Embedded as Embedded
from vaultembed.models.protocol import Embedder as Embedder
from vaultembed.models.protocol import ModelFacts as ModelFacts
from vaultembed.models.protocol import Role as Role
from vaultembed.search.answering import Opener, find_serving, why_unavailable
from vaultembed.search.model_of import open_model_of as open_model_of
from vaultembed.search.query import parse_query
from vaultembed.service.searching import Kept


def generation_that_answers(archive_path: Path) -> Generation | None:
    """The main one; its model is the one to have ready. None where nothing answers by meaning.

    Raises: as `open_archive_readonly`.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        serving = find_serving(archive)
        return None if serving is None or why_unavailable(archive, serving) else serving.main


def only_matching(archive_path: Path, query: str) -> Within:
    """The archive of which only the messages are there that match a query, every word of it included.

    Raises:
        QueryError: it cannot be read, or asks for nothing.
    """
    if not parse_query(query).everything.parts:  # also of characters that nobody sees
        raise QueryError("--only says nothing to look for", "For all of the archive, leave it out.")
    return Within(archive_path, lambda: shown_by(parse_query(query).everything))


def keep(open_embedder: Opener) -> Kept:
    """For the searches of one archive: models are opened with this, and the coarse indexes stay in memory."""
    from vaultembed.archive.vectors.coarse_in_memory import KeptBits

    return Kept(open_embedder, KeptBits())
