"""`repair-encoding` on real archives: what is found, repaired, embedded again, undone; and what a kill leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.builds import run, search
from tests.kit.embedder import WordHashEmbedder
from tests.kit.garble import ATTACHED, ODD, SUBJECT, garble_everything, import_odd, misread, store, texts
from tests.kit.mail import mail, mbox
from tests.kit.processes import vaultembed, vaultembed_json, vaultembed_process
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.errors import UsageError
from vaultembed.models.model_file import ModelFile
from vaultembed.service.deletion import delete_messages, select_messages
from vaultembed.service.repair_runs import repair_runs, undo_repair
from vaultembed.service.repairing import RepairRequest, repair_encoding

EVERYTHING = RepairRequest()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_odd(tmp_path_factory.mktemp("imported"))


@pytest.fixture
def sound(imported: Path, tmp_path: Path) -> Path:
    """Everything in it is right."""
    return Path(shutil.copy(imported, tmp_path / "a.db"))


@pytest.fixture
def garbled(sound: Path) -> Path:
    """One message with everything of it stored wrongly, each in its own way."""
    garble_everything(sound)
    return sound


def test_every_field_is_repaired_and_put_back_exactly(garbled: Path, imported: Path) -> None:
    wrong = texts(garbled)
    assert wrong != texts(imported)
    done = repair_encoding(garbled, EVERYTHING)
    assert done.exit_code == 0
    assert texts(garbled) == texts(imported)
    assert done.data.changed == {
        "subject": 1,
        "body": 1,
        "snippet": 1,
        "file": 1,
        "name": 2,
        "label": 1,
        "conversation": 1,
    }
    check_invariants(garbled)
    assert done.data.run is not None
    undone = undo_repair(garbled, done.data.run)
    assert (undone.data.undone, undone.data.changed_since, undone.exit_code) == (8, 0, 0)
    # but for the thread key, which is made of the subject as any import would
    assert texts(garbled)[:-1] == wrong[:-1]
    check_invariants(garbled)


def test_a_second_run_changes_nothing_and_what_was_put_back_stays_so(garbled: Path) -> None:
    first = repair_encoding(garbled, EVERYTHING)
    before = texts(garbled)
    second = repair_encoding(garbled, EVERYTHING)
    assert (second.data.changed, second.data.run) == ({}, None)
    assert texts(garbled) == before
    assert first.data.run is not None
    undo_repair(garbled, first.data.run)
    third = repair_encoding(garbled, EVERYTHING)
    assert (third.data.changed, third.data.put_back) == ({}, 8)
    again = repair_encoding(garbled, RepairRequest(again=True))
    assert sum(again.data.changed.values()) == 8
    assert [(run.repairs, run.undone) for run in repair_runs(garbled).data.runs] == [(8, 8), (8, 0)]
    assert texts(garbled) == before


def test_a_dry_run_says_the_same_and_changes_nothing(garbled: Path) -> None:
    before = garbled.read_bytes()
    planned = repair_encoding(garbled, RepairRequest(dry_run=True))
    assert garbled.read_bytes() == before
    done = repair_encoding(garbled, EVERYTHING)
    assert planned.data.changes == done.data.changes
    assert planned.data.to_embed == done.data.to_embed == 1


def test_only_fields_ids_sources_and_a_limit(garbled: Path) -> None:
    store(garbled, "UPDATE messages SET subject = ? WHERE id = 3", misread("Größe"))
    assert repair_encoding(garbled, RepairRequest(dry_run=True, only=("file",))).data.changed == {"file": 1}
    assert repair_encoding(garbled, RepairRequest(dry_run=True, ids=(3,))).data.changed == {"subject": 1}
    assert repair_encoding(garbled, RepairRequest(dry_run=True, sources=("box",))).data.repaired_messages == 2
    with pytest.raises(UsageError, match="no message 99"):
        repair_encoding(garbled, RepairRequest(ids=(99,)))
    with pytest.raises(UsageError, match="no source"):
        repair_encoding(garbled, RepairRequest(sources=("elsewhere",)))
    limited = repair_encoding(garbled, RepairRequest(limit=1))
    assert limited.data.repaired_messages == 1
    assert repair_encoding(garbled, EVERYTHING).data.repaired_messages == 1


def test_a_name_of_many_messages_is_repaired_in_all_and_its_right_twin_is_found(sound: Path) -> None:
    with open_archive_readonly(sound) as archive:
        ada = archive.scalar(
            "SELECT count(*) FROM messages m JOIN participants p ON p.id = m.sender_id WHERE name = 'Ada'"
        )
    store(sound, "UPDATE participants SET name = 'Zoë' WHERE name = 'Ada'")
    store(
        sound,
        "INSERT INTO participants(address, name, domain) VALUES ('ada@example.org', ?, 'example.org')",
        misread("Zoë"),
    )
    store(
        sound,
        "UPDATE messages SET sender_id = (SELECT id FROM participants WHERE name = ?) WHERE id % 2 = 0 AND id < 20",
        misread("Zoë"),
    )
    store(sound, "DELETE FROM message_raw")
    done = repair_encoding(sound, EVERYTHING)
    assert done.data.changed == {"name": 9}
    with open_archive_readonly(sound) as archive:
        count = "SELECT count(*) FROM messages m JOIN participants p ON p.id = m.sender_id WHERE p.name = 'Zoë'"
        assert archive.scalar(count) == ada
    assert vaultembed_json("search", "from:zoë", "--mode", "text", archive=sound)["results"]


# What is embedded -----------------------------------------------------------------------------------------------------


def test_through_the_commands_exactly_what_was_repaired_is_missing_then_embedded_and_found(
    sound: Path, model: ModelFile
) -> None:
    vaultembed_json("embeddings", "build", archive=sound)
    store(sound, "UPDATE messages SET subject = ? WHERE id = 3", misread("Die Größe der Körbe"))
    store(sound, "UPDATE message_bodies SET body_text = ? WHERE message_id = 3", misread("Jürgens Körbe für Äpfel"))
    store(sound, "DELETE FROM message_raw WHERE message_id = 3")
    vaultembed_json("embeddings", "build", archive=sound)
    with open_archive_readonly(sound) as archive:
        assert archive.scalar("SELECT watermark_id FROM embed_watermark") > 3
    assert ids(vaultembed_json("search", misread("Körbe"), "--mode", "text", archive=sound)) == [3]
    done = vaultembed("repair-encoding", archive=sound)
    assert done.returncode == 0, done.stderr
    assert "vaultembed embeddings build" in done.stderr
    status = vaultembed_json("embeddings", archive=sound)["generations"][0]["coverage"]
    assert status["missing"] == 1
    with open_archive_readonly(sound) as archive:
        assert archive.rows("SELECT id FROM messages WHERE embed_gen IS NULL") == [(3,)]
    built = vaultembed_json("embeddings", "build", "--backstop-hours", "0", archive=sound)
    assert built["run"]["embedded"] == 1
    assert built["generation"]["coverage"]["missing"] == 0
    assert ids(vaultembed_json("search", "Körbe", "--mode", "text", archive=sound)) == [3]
    assert ids(vaultembed_json("search", "Körbe für Äpfel", "--mode", "vector", archive=sound))[0] == 3
    assert ids(vaultembed_json("search", misread("Körbe"), "--mode", "text", archive=sound)) == []
    assert vaultembed_json("repair-encoding", archive=sound)["changed"] == {}


def ids(data: dict[str, object]) -> list[int]:
    return [found["id"] for found in data["results"]]  # type: ignore[attr-defined]


def test_a_quotation_that_is_repaired_costs_no_embedding(sound: Path) -> None:
    quoted = "My own words stay.\n\nOn Monday Ada wrote:\n> {}\n"
    store(sound, "UPDATE message_bodies SET body_text = ? WHERE message_id = 3", quoted.format(misread("schöne Grüße")))
    store(sound, "UPDATE messages SET subject = 'Re: plans' WHERE id = 3")
    store(sound, "DELETE FROM message_raw WHERE message_id = 3")
    with open_archive(sound) as archive:
        run(archive)
        run(archive, WordHashEmbedder("two"))
    done = repair_encoding(sound, EVERYTHING)
    assert (done.data.changed["body"], done.data.to_embed) == (1, 0)
    check_invariants(sound)
    with open_archive(sound) as archive:
        embedder = WordHashEmbedder("two")
        run(archive, embedder)
        assert embedder.texts == []
        assert archive.scalar("SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id"
                              " AND m.content_rev = o.content_rev WHERE o.message_id = 3") == 2  # fmt: skip
        assert 3 in search(archive, "my own words stay", embedder)


@pytest.fixture
def to_backfill(sound: Path) -> Path:
    """A generation that was taken over has yet to stamp what it covers: of that, one message is garbled."""
    store(sound, "UPDATE messages SET subject = ? WHERE id = 3", misread("Größe"))
    store(sound, "DELETE FROM message_raw WHERE message_id = 3")
    with open_archive(sound) as archive:
        run(archive)
    store(sound, "UPDATE generations SET state = 'retired', retired_at = 0")
    store(sound, "UPDATE messages SET embed_gen = NULL")
    store(sound, "INSERT INTO adopted_generations(generation_id, origin, origin_generation, model, fingerprint,"
                 " started_at, state) VALUES (1, 'elsewhere', 1, 'm', 'f', 0, 'active')")  # fmt: skip
    return sound


def missing(path: Path) -> list[tuple[object, ...]]:
    with open_archive_readonly(path) as archive:
        return archive.rows("SELECT id FROM messages WHERE embed_gen IS NULL")


def test_what_is_still_to_be_done_once_is_done_before_anything_is_repaired(to_backfill: Path) -> None:
    repair_encoding(to_backfill, EVERYTHING)
    assert missing(to_backfill) == [(3,)]


# Whatever happens ----------------------------------------------------------------------------------------------------


def test_what_was_edited_since_is_not_put_back(garbled: Path) -> None:
    done = repair_encoding(garbled, EVERYTHING)
    store(garbled, "UPDATE messages SET subject = 'my own words' WHERE id = ?", ODD)
    assert done.data.run is not None
    undone = undo_repair(garbled, done.data.run)
    assert (undone.data.undone, undone.data.changed_since, undone.exit_code) == (7, 1, 3)
    with open_archive_readonly(garbled) as archive:
        assert archive.scalar("SELECT subject FROM messages WHERE id = ?", (ODD,)) == "my own words"


def test_a_message_that_cannot_be_read_is_named_and_the_rest_repaired(garbled: Path) -> None:
    store(garbled, "UPDATE message_raw SET mime = x'00' WHERE message_id = ?", ODD)
    store(garbled, "UPDATE messages SET subject = ? WHERE id = 5", misread("Größe"))
    done = vaultembed_json("repair-encoding", archive=garbled, exit_code=3)
    assert {failure["message_id"] for failure in done["failures"]} == {ODD}
    with open_archive_readonly(garbled) as archive:
        # of what was sent there is nothing left in it: somebody wrote it anew, and it was garbled then
        assert archive.scalar("SELECT subject FROM messages WHERE id = 5") == "Größe"
        # what needs no message as it was sent is repaired all the same
        assert archive.scalar("SELECT subject FROM messages WHERE id = ?", (ODD,)) == SUBJECT


@pytest.mark.corpus
def test_real_mail_that_was_decoded_well_is_left_as_it_is(shared_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    vaultembed_json("import", shared_data / "maildir", archive=path)
    vaultembed_json("import", shared_data / "mbox" / "r-announce", archive=path)
    done = repair_encoding(path, RepairRequest(dry_run=True))
    assert done.data.changes == ()


def test_ids_and_fields_that_make_no_sense_are_usage_errors(sound: Path) -> None:
    for arguments in (["--ids", "a"], ["--ids", "0"], ["--only", "thing"], ["--undo", "7"], ["--limit", "0"]):
        done = vaultembed("repair-encoding", *arguments, archive=sound)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), arguments


def test_a_mail_that_is_imported_again_is_as_it_was_sent(garbled: Path, tmp_path: Path) -> None:
    """The twin of a repair from what was sent: the import decodes as the repair does."""
    repair_encoding(garbled, EVERYTHING)
    box = mbox(tmp_path / "again", [ATTACHED, mail("another", "text")])
    vaultembed_json("import", box, archive=garbled)
    with open_archive_readonly(garbled) as archive:
        assert archive.scalar("SELECT subject FROM messages WHERE id = ?", (ODD,)) == SUBJECT


@pytest.mark.slow
def test_any_number_of_ids_may_be_given(garbled: Path) -> None:
    """SQLite takes so many values and no more."""
    with open_archive(garbled) as archive:
        archive.db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)"
            " INSERT INTO messages(subject) SELECT 'more' FROM n"
        )
        ids = tuple(row[0] for row in archive.rows("SELECT id FROM messages"))
    assert repair_encoding(garbled, RepairRequest(dry_run=True, ids=ids)).data.changed["subject"] == 1


def test_what_is_deleted_for_ever_is_gone_from_the_record_of_repairs_too(garbled: Path) -> None:
    wrong = misread(SUBJECT).encode()
    repair_encoding(garbled, EVERYTHING)
    assert wrong in garbled.read_bytes()
    delete_messages(garbled, select_messages(garbled, [str(ODD)]), forever=True)
    assert wrong not in garbled.read_bytes()
    with open_archive_readonly(garbled) as archive:
        assert archive.rows("SELECT name FROM participants WHERE address LIKE '%juergen%' OR address LIKE 'zoe%'") == []
    check_invariants(garbled)


def test_no_name_or_label_is_left_without_a_message(garbled: Path) -> None:
    repair_encoding(garbled, EVERYTHING)
    with open_archive_readonly(garbled) as archive:
        assert (
            archive.rows(
                "SELECT name FROM labels WHERE NOT EXISTS (SELECT 1 FROM message_labels WHERE label_id = labels.id)"
            )
            == []
        )
        names = [row[0] for row in archive.rows("SELECT name FROM participants")]
    assert misread("Zoë", "latin-1") not in names


@pytest.mark.slow
def test_what_was_sent_is_read_in_a_process_of_its_own_and_repaired_without_if_that_ends(garbled: Path) -> None:
    done = vaultembed_process("repair-encoding", "--json", archive=garbled, failpoint="parser.message")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["data"]
    assert found["changed"]["subject"] == 1
    assert "reversed" in found["methods"], "its subject as it was sent was read all the same"
