"""Long reads end with the call that they are for, also where nobody is left to interrupt them a second time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.kit.archives import new_archive
from tests.kit.builds import fill, run
from tests.kit.embedder import DIMENSION
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import generation_with_id
from vaultembed.archive.vectors.coarse_in_memory import KeptBits
from vaultembed.archive.vectors.nearest import nearest_messages
from vaultembed.deadline import Deadline, within
from vaultembed.errors import TimedOutError

QUERY = np.ones(DIMENSION, np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with new_archive(tmp_path / "a.db") as archive:
        fill(archive, 20)
        run(archive)
    return tmp_path / "a.db"


@contextmanager
def giving_up_at(path: Path, statement: str) -> Iterator[Archive]:
    """The call that reads is given up when a statement with these words begins."""
    deadline = Deadline(3600)

    def look(_cursor: object, sql: str, _bindings: object) -> bool:
        if statement in sql:
            deadline.give_up()
        return True

    with within(deadline), open_archive_readonly(path) as archive, archive.snapshot():
        archive.db.exec_trace = look
        yield archive


def test_scoring_vectors_ends(path: Path) -> None:
    with giving_up_at(path, "v.embedding") as archive, pytest.raises(TimedOutError):
        nearest_messages(archive, generation_with_id(archive, 1), QUERY, 5, Filter())


def test_following_a_coarse_index_ends(path: Path) -> None:
    kept = KeptBits()
    with open_archive_readonly(path) as archive, archive.snapshot():
        kept.distances(archive, generation_with_id(archive, 1), QUERY)
    with open_archive(path) as archive:  # a change that leaves every block as it was
        archive.db.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'chunks'")
    with giving_up_at(path, "CAST(validity") as archive, pytest.raises(TimedOutError):
        kept.distances(archive, generation_with_id(archive, 1), QUERY)
