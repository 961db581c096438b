"""What an import says it did is what it did."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.embedder import WordHashEmbedder
from tests.kit.msgvault import Mail, Pair, mail, write_pair
from tests.kit.processes import vaultembed
from tests.msgvault.test_truth import planned_and_done
from vaultembed.importing.paths import ImportCounts
from vaultembed.service.importing import next_steps


def pair_of(folder: Path, *mails: Mail) -> Pair:
    embedder = WordHashEmbedder()
    return write_pair(folder, "v2", mails, lambda texts: embedder.embed(texts).vectors, model="word-hash")


def copy_of(one: Mail, number: int, **more: object) -> Mail:
    return Mail(number, one.subject, one.body, raw=one.raw, **more)  # type: ignore[arg-type]


def test_what_is_deleted_there_and_stands_elsewhere_is_not_said_to_be_deleted(tmp_path: Path, archive: Path) -> None:
    first = mail(1, "Twice", "The same letter in two accounts")
    pair = pair_of(tmp_path / "mv", first, copy_of(first, 2, deleted="duplicate"), mail(3, "Other", "letter"))
    planned = vaultembed("import", "--dry-run", pair.folder, archive=archive).stdout
    assert "1 of them deleted there, and so here unless they stand elsewhere" in planned
    done = vaultembed("import", pair.folder, archive=archive).stdout
    assert "1 of them deleted there, and none here, for they stand elsewhere" in done
    pair.write("UPDATE messages SET deleted_from_source_at = '2026-01-01 00:00:00' WHERE id = 3")
    planned = vaultembed("import", "--dry-run", pair.folder, archive=archive).stdout
    assert "1 have changed since the last import" in planned
    assert "2 have not changed since the last import" in planned
    done = vaultembed("import", pair.folder, archive=archive).stdout
    assert "2 of them deleted there, 1 of these here, too; the others stand elsewhere" in done
    assert "2 unchanged" in done
    assert "1 with other labels, flags, reactions or name of their chat, or deleted there since" in done
    pair.write("UPDATE messages SET deleted_at = '2026-01-01 00:00:00' WHERE id = 1")
    assert "3 of them deleted there, and so here" in vaultembed("import", pair.folder, archive=archive).stdout


@pytest.mark.parametrize("changed", [1, 2])
def test_of_two_copies_the_reason_counts_of_the_one_that_has_vectors(
    tmp_path: Path, archive: Path, changed: int
) -> None:
    one = mail(1, "Twice", "The same letter in two accounts", embedded=changed == 1, pending=changed == 1)
    two = copy_of(one, 2, embedded=changed == 2, pending=changed == 2)
    done = planned_and_done(archive, pair_of(tmp_path / "mv", one, two, mail(3, "Other", "letter")))
    assert done.data.msgvault[0].generations[0].again == {"changed": 1}


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM embeddings WHERE message_id < 3",
        "UPDATE index_generations SET id = 9 WHERE id = 3; UPDATE embeddings SET generation_id = 9",
        "DELETE FROM index_generations",
        "DROP TABLE embeddings",
    ],
)
def test_vectors_that_were_left_behind_in_a_log_are_counted(tmp_path: Path, archive: Path, damage: str) -> None:
    pair = pair_of(tmp_path / "mv", *(mail(n, f"Subject {n}", f"Text number {n}") for n in range(1, 5)))
    pair.write(damage, name="vectors.db")
    number = "2" if damage.endswith("< 3") else "4"
    for more in (["--dry-run"], []):
        said = vaultembed("import", *more, pair.folder, archive=archive)
        told = f"{said.stdout}{said.stderr}"
        assert "was vectors.db-wal copied with it?" in told
        assert "DROP" in damage or f"{number} messages that msgvault counts as embedded have no vectors" in told


def test_messages_that_were_left_behind_in_a_log_are_counted(tmp_path: Path, archive: Path) -> None:
    pair = pair_of(tmp_path / "mv", *(mail(n, f"Subject {n}", f"Text number {n}") for n in range(1, 5)))
    pair.write("CREATE TABLE later AS SELECT * FROM messages WHERE id > 2; DELETE FROM messages WHERE id > 2")
    asked = (
        "2 messages later than the last of msgvault.db. Were they removed there? If it is a copy: was msgvault.db-wal"
    )
    with closing(pair.open()) as running:
        running.pragma("wal_autocheckpoint", 0)
        running.execute("INSERT INTO messages SELECT * FROM later")
        whole, half = pair.copy(tmp_path / "whole"), pair.copy(tmp_path / "half")
    (half.folder / "msgvault.db-wal").unlink()
    (half.folder / "msgvault.db-shm").unlink()
    for more in (["--dry-run"], []):
        assert asked in vaultembed("import", *more, half.folder, archive=archive).stderr
        assert "-wal" not in vaultembed("import", *more, whole.folder, archive=archive).stderr


def test_what_to_do_about_a_model_is_said_beside_what_works_already() -> None:
    none = ImportCounts()
    assert next_steps(["Get it"], False, none, None) == ["Text search works now. For search by meaning: Get it"]
    (said,) = next_steps(["Get it"], True, none, None)
    assert said.startswith("Search works now, by words and by meaning.")
    assert said.endswith("Get it")
