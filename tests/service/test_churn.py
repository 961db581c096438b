"""Years of mail that comes and goes do not make the file grow."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.kit.archives import add_parsed, check_invariants, new_message
from tests.kit.builds import run, search
from tests.kit.embedder import WordHashEmbedder
from tests.kit.scale import scaled
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.upkeep.erasing import delete_forever
from vaultembed.archive.upkeep.pruning import collect_garbage
from vaultembed.service.pruning import plan_prune, prune_embeddings

pytestmark = pytest.mark.slow

MESSAGES = 200
CYCLES = scaled(50)
CHURN = 40


def body(number: int) -> str:
    chance = random.Random(number)
    return " ".join(f"w{chance.randrange(2000)}" for _ in range(chance.randrange(20, 200)))


def write(archive: Archive, numbers: list[int]) -> None:
    with archive.transaction():
        for number in numbers:
            add_parsed(archive, new_message(f"subject {number}", body(number), message_id=str(number)))


def build(archive: Archive, model: str, **options: object) -> None:
    archive.load_vec()
    collect_garbage(archive)
    run(archive, WordHashEmbedder(model), **options)


def test_after_fifty_cycles_of_build_delete_and_prune_the_file_is_that_of_a_fresh_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    chance = random.Random(5)
    there = list(range(MESSAGES))
    with open_archive(path) as archive:
        write(archive, there)
        build(archive, "model 0")
    after = MESSAGES
    for cycle in range(1, CYCLES + 1):
        with open_archive(path) as archive:
            doomed = set(chance.sample(there, CHURN))
            archive.load_vec()
            ids = [archive.scalar("SELECT id FROM messages WHERE rfc822_message_id = ?", (str(n),)) for n in doomed]
            assert delete_forever(archive, ids) == CHURN
            new = list(range(after, after + CHURN))
            after += CHURN
            write(archive, new)
            there = sorted(set(there) - doomed) + new
            # now and then a new model, whose predecessor is pruned
            build(archive, f"model {cycle // 10}")
        prune_embeddings(path, plan_prune(path))
    fresh = tmp_path / "fresh.db"
    with open_archive(fresh) as archive:
        write(archive, there)
        build(archive, f"model {CYCLES // 10}")
        found = search(archive, body(there[7]), WordHashEmbedder(f"model {CYCLES // 10}"))
        subjects = [archive.scalar("SELECT subject FROM messages WHERE id = ?", (i,)) for i in found]
    with open_archive(path) as archive:
        archive.load_vec()
        found = search(archive, body(there[7]), WordHashEmbedder(f"model {CYCLES // 10}"))
        assert [archive.scalar("SELECT subject FROM messages WHERE id = ?", (i,)) for i in found] == subjects
    check_invariants(path)
    assert path.stat().st_size <= 1.1 * fresh.stat().st_size
