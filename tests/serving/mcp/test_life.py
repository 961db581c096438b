"""The numbers of the command line, of MCP and of doctor are the same at every step of an archive's life."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.assistant import Assistant, RefusedError, assistant
from tests.kit.builds import run
from tests.kit.embedder import WordHashEmbedder
from tests.kit.mail import many, mbox
from tests.kit.processes import vaultembed, vaultembed_json
from vaultembed.archive.database import open_archive
from vaultembed.embeddings.build import Wanted
from vaultembed.embeddings.worker import Limits

NEWER = Wanted(model_named=True)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def helper(archive: Path) -> Iterator[Assistant]:
    """One server for the whole life: what other processes commit, its next answer must show."""
    with assistant(archive) as connected:
        yield connected


def numbers(archive: Path, helper: Assistant) -> dict[str, Any]:
    """`vector_search` of the statistics, which all three agree on."""
    by_command = vaultembed_json("stats", archive=archive)
    assert helper.call("get_stats") == by_command
    found: dict[str, Any] = by_command["vector_search"]
    # the model of these generations is one of our tests, which doctor rightly misses
    in_use = found["active_generation"] or found["building_generation"]
    examined = vaultembed_json("doctor", archive=archive, exit_code=4 if in_use else 0)
    assert {finding["severity"] for finding in examined["findings"]} <= {"model", "leftover"}
    counted = examined["counted"]
    assert counted["missing_embeddings_total"] == found["missing_embeddings_total"]
    assert counted["live"] == by_command["totals"]["messages"] == helper.call("aggregate", by="type")["messages"]
    views = {view["id"]: view for view in (found["active_generation"], found["building_generation"]) if view}
    assert set(views) == {generation["id"] for generation in counted["generations"]}
    for generation in counted["generations"]:
        view = views[generation["id"]]
        assert view["state"] == generation["state"]
        assert generation["coverage"] == {name: view[name] for name in generation["coverage"]}
    listed = vaultembed_json("embeddings", archive=archive)["generations"]
    for generation in listed:
        if generation["id"] in views:
            assert generation["coverage"]["missing"] == views[generation["id"]]["missing"]
    return found


def embed(archive: Path, embedder: WordHashEmbedder | None = None, **options: Any) -> None:
    with open_archive(archive) as opened:
        run(opened, embedder, **options)


def test_the_numbers_agree_through_a_whole_life(archive: Path, helper: Assistant, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="archive_missing"):
        helper.call("get_stats")

    # empty
    with open_archive(archive):
        pass
    found = numbers(archive, helper)
    assert (found["enabled"], found["missing_embeddings_total"]) == (False, 0)

    # imported
    vaultembed("import", mbox(tmp_path / "box", many(20)), archive=archive)
    found = numbers(archive, helper)
    assert found["problem"]["code"] == "no_active_generation"
    assert found["missing_embeddings_total"] == 20

    # half built
    embed(archive, WordHashEmbedder(refused=["word7"]), limits=Limits(messages=8))
    found = numbers(archive, helper)
    assert found["active_generation"] is None
    assert found["missing_embeddings_total"] == 12
    assert found["building_generation"]["progress"] == {"done": 8, "total": 20, "rate": None, "eta_seconds": None}
    assert found["building_generation"]["last_build"]["embedded"] == 7

    # active, with a failed message
    embed(archive, WordHashEmbedder(refused=["word7"]), max_failed=1)
    found = numbers(archive, helper)
    active = found["active_generation"]
    assert (active["message_count"], active["failed"], active["missing"]) == (19, 1, 0)
    assert (active["last_build"]["outcome"], found["building_generation"]) == ("complete", None)
    assert found["missing_embeddings_total"] == 0

    # edited
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE messages SET subject = subject || ' again' WHERE id IN (3, 4)")
    assert numbers(archive, helper)["missing_embeddings_total"] == 2

    # repaired: counters that somebody spoiled
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE embed_coverage SET embedded = 3")
    assert helper.call("get_stats")["vector_search"]["active_generation"]["embedded"] == 3
    assert vaultembed("doctor", "--fix", archive=archive).returncode == 4
    assert numbers(archive, helper)["missing_embeddings_total"] == 2
    embed(archive)
    assert numbers(archive, helper)["missing_embeddings_total"] == 0

    # rebuilding, while new mail comes
    embed(archive, WordHashEmbedder("newer"), wanted=NEWER, hold=True, limits=Limits(messages=5))
    vaultembed("import", mbox(tmp_path / "more", many(3, start=20)), archive=archive)
    found = numbers(archive, helper)
    assert (found["active_generation"]["missing"], found["building_generation"]["missing"]) == (3, 18)
    assert found["missing_embeddings_total"] == 18
    embed(archive, WordHashEmbedder("newer"), wanted=NEWER)
    found = numbers(archive, helper)
    assert (found["active_generation"]["id"], found["missing_embeddings_total"]) == (2, 0)

    # rolled back
    assert vaultembed("embeddings", "rollback", archive=archive).returncode == 0
    found = numbers(archive, helper)
    assert (found["active_generation"]["id"], found["missing_embeddings_total"]) == (1, 3)

    # deleted
    assert vaultembed("delete", "1", "2", "21", "--yes", archive=archive).returncode == 0
    found = numbers(archive, helper)
    assert (found["active_generation"]["live"], found["missing_embeddings_total"]) == (20, 2)
    with pytest.raises(RefusedError, match="message_not_found"):
        helper.call("get_message", message_id=1)

    # none in use
    assert vaultembed("embeddings", "retire", "1", "--force", archive=archive).returncode == 0
    found = numbers(archive, helper)
    assert (found["problem"]["code"], found["missing_embeddings_total"]) == ("no_active_generation", 20)
