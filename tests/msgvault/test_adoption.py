"""Moving in from every shape of msgvault archive: what is here afterwards, and what is embedded again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.kit.archives import check_invariants
from tests.kit.embedder import WordHashEmbedder
from tests.kit.msgvault import ACTIVE, BUILDING, EMBEDDED_AT, SHAPES, Embed, Pair, Shape, mail, write_pair
from tests.kit.processes import vaultembed_json
from tests.msgvault.cast import (
    BYTES,
    CAST,
    CHANGED,
    CHAT,
    DELETED,
    EMPTY,
    HTML,
    LONG,
    MEETING,
    NEW,
    PLAIN,
    REPLY,
    SENT_ONLY,
    again,
    blank,
    embedded,
    ids,
    write_cast,
)
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.archive.generations.scopes import source_id_of_path
from vaultembed.errors import UsageError
from vaultembed.service.doctor import examine
from vaultembed.service.embedding import build_embeddings
from vaultembed.service.generations import embeddings_status
from vaultembed.service.import_plan import plan_import
from vaultembed.service.importing import Imported, import_mail
from vaultembed.service.result import Result
from vaultembed.service.searching import search_archive
from vaultembed.service.showing import show_message

Cast = Callable[..., Pair]
pytestmark = pytest.mark.usefixtures("few_are_compared")
TWO_OF_SHAPES = [s if s in ("v1", "v2") else pytest.param(s, marks=pytest.mark.slow) for s in SHAPES]


def move_in(archive: Path, pair: Pair, **more: object) -> Result[Imported]:
    return import_mail(archive, [pair.folder], **more)  # type: ignore[arg-type]


def here(archive: Path) -> dict[int, int]:
    """Msgvault's ids, and the messages that they are here."""
    with open_archive_readonly(archive) as opened:
        return {
            int(key): message
            for key, message in opened.rows(
                "SELECT source_key, message_id FROM message_sources WHERE source_key GLOB '[0-9]*'"
            )
        }


def with_outcome(archive: Path, sql: str = "") -> set[int]:
    """Msgvault's ids of messages with a current outcome."""
    with open_archive_readonly(archive) as opened:
        return {
            int(row[0])
            for row in opened.rows(
                "SELECT x.source_key FROM embed_outcomes o JOIN messages m ON m.id = o.message_id"
                " AND m.content_rev = o.content_rev JOIN message_sources x ON x.message_id = m.id"
                f" AND x.source_key GLOB '[0-9]*' WHERE 1 {sql}"
            )
        }


def stamped(archive: Path, generation: int = 1) -> set[int]:
    with open_archive_readonly(archive) as opened:
        return {
            int(row[0])
            for row in opened.rows(
                "SELECT x.source_key FROM messages m JOIN message_sources x ON x.message_id = m.id"
                " AND x.source_key GLOB '[0-9]*' WHERE m.embed_gen = ?",
                (generation,),
            )
        }


def states(archive: Path) -> list[str]:
    with open_archive_readonly(archive) as opened:
        return [row[0] for row in opened.rows("SELECT state FROM generations ORDER BY id")]


@pytest.mark.parametrize("shape", TWO_OF_SHAPES)
@pytest.mark.parametrize("altered", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_moving_in(cast_of: Cast, archive: Path, shape: Shape, altered: bool) -> None:
    pair = cast_of(shape, altered=altered)
    plan = plan_import(archive, [pair.folder]).data.plans[0]
    assert not archive.exists()
    done = move_in(archive, pair)
    assert done.exit_code == 0, done.notes
    check_invariants(archive)

    data = done.data
    assert (data.counts.added, data.counts.problems) == (len(CAST), 1)
    view = data.msgvault[0]
    assert (view.messages, view.deleted, view.left_out) == (len(CAST), 2, ())
    generation = view.generations[0]
    assert (generation.embedded, generation.blank) == (len(embedded(shape)), len(blank(shape)))
    assert generation.again == {why: len(which) for why, which in sorted(again(shape).items())}
    assert plan.counts.new == len(CAST), "the dry run says the same"
    assert plan.msgvault.generations[0].again == generation.again
    assert plan.msgvault.generations[0].vectors == generation.vectors

    where = here(archive)
    assert set(where) == ids()
    assert with_outcome(archive, "AND o.outcome = 'embedded'") == embedded(shape)
    assert with_outcome(archive, "AND o.outcome = 'blank'") == blank(shape)
    assert stamped(archive) == embedded(shape) | blank(shape)
    assert states(archive) == ["active"]
    with open_archive_readonly(archive) as opened:
        assert [row[0] for row in opened.rows("SELECT name FROM applied_steps")] == ["msgvault_backfill_1"]
        deleted = {row[0] for row in opened.rows("SELECT id FROM messages WHERE deleted_at IS NOT NULL")}
        assert deleted == {where[n] for n in DELETED}
        _check_vectors(opened, pair, where, embedded(shape))
    assert [finding for finding in examine(archive).data.findings if finding.severity != "leftover"] == []
    assert data.compared[0].same
    assert data.compared[0].median_cosine > 0.999
    found = search_archive(archive, "water comes through the ceiling of the stable", mode="vector", limit=3)
    assert {hit.subject for hit in found.data.results} == {"The roof of the barn is leaking again after the storm"}
    assert found.data.results[0].passage.chunk_id is not None, "the passage that was embedded"

    missing = set().union(*again(shape).values())
    before = with_outcome(archive)
    built = build_embeddings(archive)
    assert built.exit_code == 0
    assert built.data.run.messages == len(missing), "exactly what is missing is embedded"
    assert with_outcome(archive) - before == missing
    assert with_outcome(archive, "AND o.recipe LIKE 'p2:%'") == missing
    assert embeddings_status(archive).data.generations[0].coverage.missing == 0
    recipes = embeddings_status(archive).data.generations[0].recipes
    assert len({recipe.removesuffix(":truncated") for recipe in recipes}) == 2, "the mix is shown"
    check_invariants(archive)


def _check_vectors(opened: object, pair: Pair, where: dict[int, int], covered: set[int]) -> None:
    for number in covered:
        rows = opened.rows(  # type: ignore[attr-defined]
            "SELECT v.embedding, c.embedded_at FROM chunks c JOIN vectors v ON v.chunk_id = c.id WHERE c.message_id = ?"
            " ORDER BY c.chunk_index",
            (where[number],),
        )
        originals = pair.vectors[number]
        assert len(rows) == len(originals)
        for (row, embedded_at), original in zip(rows, originals, strict=True):
            assert embedded_at == EMBEDDED_AT, "when msgvault made it, and not when it was taken over"
            mine = np.frombuffer(row, "<f2").astype(np.float64)
            cosine = mine @ original / (np.linalg.norm(mine) * np.linalg.norm(original))
            assert cosine >= 0.99999


def test_what_is_known_of_each_message(cast_of: Cast, archive: Path) -> None:
    move_in(archive, cast_of("v2"))
    where = here(archive)

    def shown(number: int) -> object:
        return show_message(archive, where[number]).data

    chat = show_message(archive, where[CHAT]).data
    assert (chat.sender_name, chat.sender_address) == ("Mo", "+49170")
    assert [(r.kind, r.name) for r in chat.recipients] == [("to", "Jo"), ("mention", "Lou")]
    assert [a.filename for a in chat.attachments] == ["timetable.png"]
    assert {entry.id for entry in chat.conversation} == {where[CHAT], where[REPLY]}
    assert chat.body_text == "See you at the station at nine"
    assert show_message(archive, where[NEW]).data.labels == ("Inbox", "Work")
    assert show_message(archive, where[HTML]).data.body_text == "Tomatoes are ripe now"
    assert show_message(archive, where[BYTES]).data.body_text == "Schöne Grüße aus Köln, wo es regnet"
    assert show_message(archive, where[SENT_ONLY]).data.subject == "Kept as sent"
    plain = show_message(archive, where[PLAIN[0]]).data
    assert plain.places[0].source.endswith("msgvault.db#gmail:ada@example.org")
    with open_archive_readonly(archive) as opened:
        types = dict(opened.rows("SELECT message_type, count(*) FROM messages GROUP BY 1"))
        assert types == {"email": len(CAST) - 3, "whatsapp": 2, "meeting_transcript": 1}
        assert opened.scalar("SELECT count(*) FROM message_raw") == sum(one.raw is not None for one in CAST)
        title = "SELECT c.subject FROM conversations c JOIN messages m ON m.conversation_id = c.id WHERE m.id = ?"
        assert opened.scalar(title, (where[CHAT],)) == "Holiday plans"
    assert search_archive(archive, "from:mo station", mode="text").data.results[0].id == where[CHAT]
    assert search_archive(archive, "timetable", mode="text").data.results[0].id == where[CHAT]


def test_no_vectors(cast_of: Cast, archive: Path) -> None:
    done = move_in(archive, cast_of("v2", vectors=False))
    assert done.exit_code == 0
    assert done.data.msgvault[0].vectors is None
    assert states(archive) == []
    assert stamped(archive) == set()
    assert build_embeddings(archive).data.run.messages == len(CAST) - len(DELETED)


def test_vectors_made_anew_have_none_of_the_generations_that_messages_are_stamped_with(
    tmp_path: Path, embed: Embed, archive: Path
) -> None:
    mails = [mail(n, f"Subject {n}", f"Text number {n} of some length", stamp=77) for n in range(1, 9)]
    pair = write_pair(tmp_path / "mv", "v2", mails, embed)
    done = move_in(archive, pair)
    assert done.data.msgvault[0].generations[0].again == {"unknown stamp": 8}
    assert states(archive) == [], "nothing of it is worth a generation"
    assert stamped(archive) == set()


@pytest.mark.parametrize(
    "shape", [s if s == "v2" else pytest.param(s, marks=pytest.mark.slow) for s in ("v1", "v2", "v3")]
)
def test_what_is_finished_of_a_generation_being_built_is_kept(
    tmp_path: Path, embed: Embed, archive: Path, shape: Shape
) -> None:
    mails = [mail(n, f"Subject {n}", f"Text number {n}: {'rain ' * n}", in_building=n <= 4) for n in range(1, 11)]
    done = move_in(archive, write_pair(tmp_path / "mv", shape, mails, embed, building=True))
    assert done.exit_code == 0
    assert states(archive) == ["building", "active"], "the one being built comes first here"
    assert with_outcome(archive, "AND o.generation_id = 1") == {1, 2, 3, 4}
    # their vectors in the one in use may be outdated: their text tells that they are not
    assert with_outcome(archive, "AND o.generation_id = 2") == set(range(1, 11))
    assert stamped(archive, 1) == {1, 2, 3, 4}
    assert stamped(archive, 2) == set(range(5, 11))
    check_invariants(archive)
    built = build_embeddings(archive)
    assert built.data.run.messages == 6
    assert built.data.activated
    assert states(archive) == ["active", "retired"]
    check_invariants(archive)


def test_beside_a_generation_of_its_own_one_of_another_model_stays_out_of_service(
    archive: Path, tmp_path: Path
) -> None:
    embedder = WordHashEmbedder()
    box = tmp_path / "own.eml"
    box.write_bytes(mail(900, "My own", "Something that I embedded myself before").raw or b"")
    import_mail(archive, [box])
    build_embeddings(archive)
    done = move_in(archive, write_cast(tmp_path / "mv", "v2", lambda texts: embedder.embed(texts).vectors))
    assert done.exit_code == 0
    assert states(archive) == ["active", "retired"]
    assert stamped(archive, 2) == set()
    with open_archive_readonly(archive) as opened:
        detail = opened.scalar("SELECT detail FROM applied_steps")
    assert "stays retired" in detail
    assert any("Generation 2, from msgvault, is out of service" in note for note in done.notes)
    check_invariants(archive)
    built = build_embeddings(archive)
    assert built.data.run.messages == len(CAST) - len(DELETED), "the one in use is the one that is filled"


def test_only_what_is_new_is_taken_over_the_next_time(tmp_path: Path, embed: Embed, archive: Path) -> None:
    mails = [mail(n, f"Subject {n}", f"Text number {n}, and so on") for n in range(1, 11)]
    pair = write_pair(tmp_path / "mv", "v2", mails[:6], embed)
    move_in(archive, pair)
    again_ = move_in(archive, pair)
    assert (again_.data.counts.unchanged, again_.data.counts.added) == (6, 0)
    assert again_.data.msgvault[0].generations[0].here_already == 6

    later = write_pair(tmp_path / "later", "v2", mails, embed)
    for name in ("msgvault.db", "vectors.db"):
        (later.folder / name).replace(pair.folder / name)
    pair.write("UPDATE messages SET deleted_at = '2026-01-01 00:00:00' WHERE id = 2")
    pair.write("DELETE FROM messages WHERE id = 3")
    pair.write("UPDATE messages SET is_read = 0 WHERE id = 4")
    pair.write("INSERT INTO labels(source_id, name) VALUES (1, 'Later')")
    pair.write("INSERT INTO message_labels SELECT 5, id FROM labels")
    pair.write("UPDATE messages SET last_modified = CURRENT_TIMESTAMP")
    done = move_in(archive, pair)
    counts = done.data.counts
    assert (counts.added, counts.gone, counts.updated) == (4, 1, 0)
    where = here(archive)
    check_invariants(archive)
    assert with_outcome(archive, "AND m.deleted_at IS NULL") == {1, 3, 4, 5, 6, 7, 8, 9, 10}
    assert stamped(archive) >= {7, 8, 9, 10}, "stamped at once: the backfill has run"
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM applied_steps") == 1
        assert opened.scalar("SELECT deleted_at FROM messages WHERE id = ?", (where[2],)) is not None
        assert opened.scalar("SELECT deleted_at FROM messages WHERE id = ?", (where[3],)) is None, "it stays"
        flags = dict(opened.rows("SELECT source_key, flags FROM message_sources"))
        assert (flags["4"], flags["5"]) == ("", "seen")
    assert show_message(archive, where[5]).data.labels == ("Later",)

    pair.write("UPDATE messages SET deleted_at = NULL WHERE id = 2")
    pair.write("DELETE FROM message_labels")
    move_in(archive, pair)
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT deleted_at FROM messages WHERE id = ?", (where[2],)) is None
    assert show_message(archive, where[5]).data.labels == ()
    assert with_outcome(archive) >= {2}
    check_invariants(archive)


def test_a_chat_that_was_edited_is_embedded_again_unless_it_was_there(
    tmp_path: Path, embed: Embed, archive: Path
) -> None:
    from tests.kit.msgvault import Mail

    mails = [Mail(n, body=f"Message {n} of this chat", kind="teams", conversation=5) for n in range(1, 6)]
    pair = write_pair(tmp_path / "mv", "v2", mails, embed)
    move_in(archive, pair)
    # the same length and the same second: nothing but its text tells
    pair.write("UPDATE message_bodies SET body_text = 'Message 9 of this chat' WHERE message_id = 2")
    pair.write("UPDATE messages SET embed_gen = NULL WHERE id = 2")
    done = move_in(archive, pair)
    assert (done.data.counts.updated, done.data.counts.unchanged) == (1, 4)
    assert with_outcome(archive) == {1, 3, 4, 5}
    assert done.data.msgvault[0].generations[0].again == {"changed": 1}
    check_invariants(archive)
    assert build_embeddings(archive).data.run.messages == 1


def test_what_was_repaired_here_is_not_covered_by_vectors_that_come_later(
    tmp_path: Path, embed: Embed, archive: Path
) -> None:
    """A vector is of the text that msgvault had."""
    mails = [mail(n, f"Subject {n}", f"Text number {n}, and so on") for n in range(1, 6)]
    pair = write_pair(tmp_path / "mv", "v2", mails, embed)
    import_mail(archive, [pair.archive], vectors=write_pair(tmp_path / "none", "v2", mails[:1], embed).embeddings)
    assert with_outcome(archive) == {1}
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE messages SET subject = 'Put right' WHERE id = ?", (here(archive)[3],))
    move_in(archive, pair)
    assert with_outcome(archive) == {1, 2, 4, 5}
    check_invariants(archive)


def test_an_mbox_and_msgvault_share_messages(tmp_path: Path, cast_of: Cast, archive: Path) -> None:
    box = tmp_path / "mail.mbox"
    box.write_bytes(
        b"".join(
            b"From x Thu Mar  4 05:06:07 2021\n" + (one.raw or b"").replace(b"\r", b"") + b"\n" for one in CAST[:5]
        )
    )
    import_mail(archive, [box])
    done = move_in(archive, cast_of("v2"))
    assert (done.data.counts.added, done.data.counts.duplicate) == (len(CAST) - 5, 5)
    assert stamped(archive) >= {one.id for one in CAST[:5]}
    check_invariants(archive)


def test_a_person_s_deletion_stays_and_a_source_s_does_not_hide_what_stands_elsewhere(
    tmp_path: Path, embed: Embed, archive: Path
) -> None:
    from vaultembed.service.deletion import delete_messages, select_messages

    mails = [mail(n, f"Subject {n}", f"Text number {n}", deleted="at source" if n == 1 else "") for n in range(1, 4)]
    pair = write_pair(tmp_path / "mv", "v2", mails, embed)
    move_in(archive, pair)
    where = here(archive)
    delete_messages(archive, select_messages(archive, [str(where[2])]))
    pair.write("UPDATE messages SET is_read = 0")
    move_in(archive, pair)
    letter = tmp_path / "one.eml"
    letter.write_bytes(mails[0].raw or b"")
    import_mail(archive, [letter])
    with open_archive_readonly(archive) as opened:
        deleted = {row[0] for row in opened.rows("SELECT id FROM messages WHERE deleted_at IS NOT NULL")}
    assert deleted == {where[2]}
    check_invariants(archive)


def test_through_the_command(cast_of: Cast, archive: Path) -> None:
    pair = cast_of("v3")
    planned = vaultembed_json("import", "--dry-run", pair.folder, archive=archive)
    assert planned["plans"][0]["counts"]["new"] == len(CAST)
    assert not archive.exists()
    done = vaultembed_json("import", pair.archive, archive=archive)
    assert done["msgvault"][0]["shape"] == "V3"
    assert done["compared"][0]["same"] is True
    shown = vaultembed_json("embeddings", archive=archive)["generations"][0]
    assert shown["adopted"]["median_cosine"] > 0.999
    assert shown["adopted"]["fingerprint"].startswith("all-minilm:384")


def test_a_generation_can_be_limited_to_an_account(cast_of: Cast, archive: Path) -> None:
    pair = cast_of("v2", vectors=False)
    move_in(archive, pair)
    with open_archive_readonly(archive) as opened:
        both = source_id_of_path(opened, str(pair.archive))
        assert len(both) == 2
        assert source_id_of_path(opened, "msgvault.db") == both
        assert source_id_of_path(opened, "gmail:ada@example.org") == both[:1]
        assert source_id_of_path(opened, "+49170") == both[1:]
        with pytest.raises(UsageError):
            source_id_of_path(opened, "example.org")


def test_ids_of_the_cast_are_what_they_seem() -> None:
    assert len({one.id for one in CAST}) == len(CAST)
    assert {CHANGED, EMPTY, LONG, MEETING} <= embedded("v1") | {CHANGED, EMPTY}
    assert ACTIVE != BUILDING
