"""Messages like a given one: by their stored vectors, in whichever generation has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.archives import add, new_archive
from tests.kit.builds import run
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import open_archive
from vaultembed.archive.vectors.coarse_in_memory import KeptBits
from vaultembed.embeddings.build import Wanted
from vaultembed.embeddings.worker import Limits
from vaultembed.errors import IndexBuildingError, MessageMissingError, NoGenerationError, NotEmbeddedError
from vaultembed.search.filters import Filters
from vaultembed.service.searching import Kept
from vaultembed.service.similar import similar_messages

BODIES = ["red boat harbour", "green boat harbour", "tax form letter", "tax letter again", "red harbour wall"]
NEWER = Wanted(model_named=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "a.db"
    with new_archive(found) as archive:
        for n, body in enumerate(BODIES):
            add(archive, "", body, message_id=str(n), sent_at=n * 86_400)
    return found


def ids(path: Path, message_id: int, **more: object) -> list[int]:
    return [found.id for found in similar_messages(path, message_id, **more).data.results]  # type: ignore[arg-type]


def test_the_nearest_come_first_without_the_message_itself(path: Path) -> None:
    with open_archive(path) as archive:
        run(archive)
    assert ids(path, 3)[0] == 4
    assert set(ids(path, 1)[:2]) == {2, 5}
    assert 1 not in ids(path, 1)
    assert ids(path, 1, limit=2) + ids(path, 1, limit=10, offset=2) == ids(path, 1)
    assert ids(path, 1, filters=Filters(after="1970-01-04")) == [5, 4]


def test_edited_and_deleted_messages_are_not_like_anything(path: Path) -> None:
    with open_archive(path) as archive:
        run(archive)
        archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = 4")
        archive.db.execute("UPDATE messages SET subject = 'new' WHERE id = 2")
    assert ids(path, 3) == [5, 1] or ids(path, 3) == [1, 5]
    with pytest.raises(MessageMissingError):
        ids(path, 4)
    with pytest.raises(NotEmbeddedError, match="not embedded yet"):
        ids(path, 2)


def test_while_another_generation_is_built_each_speaks_for_its_own(path: Path) -> None:
    with open_archive(path) as archive:
        run(archive)
        run(archive, WordHashEmbedder("newer"), wanted=NEWER, hold=True, limits=Limits(messages=2))
    both = similar_messages(path, 1).data
    assert both.generations == (2, 1)
    assert {found.id for found in both.results} == {2, 3, 4, 5}
    # message 3 has vectors in the older one alone, which then answers for all that it has
    older = similar_messages(path, 3).data
    assert older.generations == (1,)
    assert older.results[0].id == 4


def test_what_has_no_vectors_is_told_with_the_reason(path: Path) -> None:
    with pytest.raises(NoGenerationError):
        ids(path, 1)
    with open_archive(path) as archive:
        add(archive, "", "", message_id="blank")
        run(archive, WordHashEmbedder(refused=["green"]), limits=Limits(messages=3), hold=True)
    with pytest.raises(IndexBuildingError):
        ids(path, 4)
    with open_archive(path) as archive:
        run(archive, WordHashEmbedder(refused=["green"]), max_failed=1)
    with pytest.raises(NotEmbeddedError, match="no text"):
        ids(path, 6)
    with pytest.raises(NotEmbeddedError, match="failed"):
        ids(path, 2)


def test_a_server_with_the_coarse_index_in_memory_finds_the_same(path: Path) -> None:
    kept = Kept(bits=KeptBits(candidates=0))  # or so few chunks are all looked at

    def compare(limit: int, message_ids: range) -> None:
        """Four times as many candidates as asked for are all that there are."""
        for message_id in message_ids:
            found = ids(path, message_id, limit=limit, kept=kept)
            assert len(found) == limit
            assert found == ids(path, message_id, limit=limit)
            some = Filters(after="1970-01-03")
            assert ids(path, message_id, limit=5, kept=kept, filters=some) == ids(
                path, message_id, limit=5, filters=some
            )

    with open_archive(path) as archive:
        for n in range(5, 30):
            add(archive, "", f"word{n} body{n % 7} text", message_id=str(n), sent_at=n * 86_400)
        run(archive)
        compare(15, range(1, 10))
        add(archive, "", "word3 body3 text", message_id="new", sent_at=5 * 86_400)
        archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = 17")
        run(archive)
        compare(15, range(1, 10))
        run(archive, WordHashEmbedder("another"))
        compare(15, range(1, 10))
