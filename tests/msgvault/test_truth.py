"""A vector is never taken for the text of a message that is another by now, and nothing that is here is lost to what a
source says later: each of these went wrong once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.kit.archives import check_invariants
from tests.kit.msgvault import ACTIVE, EMBEDDED_AT, Embed, Mail, Pair, mail, mime, write_pair
from tests.msgvault.cast import CAST, DELETED, TOPICS
from tests.msgvault.test_adoption import here, stamped, states, with_outcome
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.archive.generations import adopted
from vaultembed.archive.upkeep.pruning import prune_generation
from vaultembed.errors import UsageError
from vaultembed.failpoints import action_at
from vaultembed.service.deletion import delete_messages, select_messages, undelete_messages
from vaultembed.service.embedding import build_embeddings
from vaultembed.service.import_plan import plan_import
from vaultembed.service.importing import Imported, import_mail
from vaultembed.service.repairing import RepairRequest, repair_encoding
from vaultembed.service.result import Result
from vaultembed.service.searching import search_archive
from vaultembed.service.showing import show_message

Cast = Callable[..., Pair]
pytestmark = pytest.mark.usefixtures("few_are_compared")


def chat(n: int, text: str, **more: object) -> Mail:
    return Mail(n, body=text, kind="teams", conversation=5, **more)  # type: ignore[arg-type]


def body(archive: Path, number: int) -> str:
    with open_archive_readonly(archive) as opened:
        found = opened.scalar("SELECT body_text FROM message_bodies WHERE message_id = ?", (here(archive)[number],))
    return str(found)


def check_vectors_are_of_texts(archive: Path, embed: Embed) -> None:
    """Of every message that counts as embedded: its vector is that of the text that is here."""
    with open_archive_readonly(archive) as opened:
        rows = opened.rows(
            "SELECT m.subject, b.body_text, v.embedding FROM embed_outcomes o JOIN messages m ON m.id = o.message_id"
            " AND m.content_rev = o.content_rev AND m.deleted_at IS NULL JOIN message_bodies b ON b.message_id = m.id"
            " JOIN chunks c ON c.message_id = m.id AND c.generation_id = o.generation_id"
            " JOIN vectors v ON v.chunk_id = c.id WHERE o.outcome = 'embedded'"
        )
    for subject, text, embedding in rows:
        made = embed([f"Subject: {subject}\n\n{text.strip()}" if subject else text.strip()])[0]
        assert made @ np.frombuffer(embedding, "<f2").astype(np.float32) > 0.99, text


def test_an_edited_draft_is_imported_whatever_is_kept_of_it(tmp_path: Path, archive: Path) -> None:
    letter = tmp_path / "draft.eml"
    for number, raw in enumerate(("none", "none", "keep")):
        letter.write_bytes(mime(1, "Draft", f"version {number}"))
        done = import_mail(archive, [letter], raw=raw)  # type: ignore[arg-type]
        assert done.data.counts.updated == (number > 0)
        with open_archive_readonly(archive) as opened:
            assert opened.rows("SELECT body_text FROM message_bodies") == [(f"version {number}",)]


@pytest.mark.parametrize("keep", ["keep", "none"])
def test_a_mail_edited_and_embedded_there(tmp_path: Path, embed: Embed, archive: Path, keep: str) -> None:
    first = [mail(1, "Draft", "We meet on Monday at the old mill", embedded=False), mail(2, "Other", "Something else")]
    pair = write_pair(tmp_path / "mv", "v2", first, embed)
    import_mail(archive, [pair.folder], raw=keep)  # type: ignore[arg-type]
    later = [mail(1, "Draft", "Tomatoes want much sun and little rain"), first[1]]
    swap(pair, write_pair(tmp_path / "later", "v2", later, embed))
    import_mail(archive, [pair.folder], raw=keep)  # type: ignore[arg-type]
    assert body(archive, 1) == "Tomatoes want much sun and little rain"
    assert with_outcome(archive) == {1, 2}
    check_vectors_are_of_texts(archive, embed)
    check_invariants(archive)


def swap(pair: Pair, other: Pair) -> None:
    """Let the files at a place be others."""
    for path in pair.folder.iterdir():
        path.unlink()
    for path in other.folder.iterdir():
        shutil.copy(path, pair.folder / path.name)


def test_a_mail_edited_there_whose_raw_form_cannot_be_read(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """What was sent before is kept, and the vector of the new text is not taken for it."""
    pair = write_pair(tmp_path / "mv", "v2", [mail(1, "Draft", "We meet on Monday"), mail(2, "b", "c")], embed)
    import_mail(archive, [pair.folder])
    later = [Mail(1, "Draft", "Tomatoes want sun", raw=mime(1, "Draft", "Tomatoes want sun")), mail(2, "b", "c")]
    swap(pair, write_pair(tmp_path / "later", "v2", later, embed))
    pair.write("UPDATE message_raw SET compression = 'zstd' WHERE message_id = 1")
    import_mail(archive, [pair.folder])
    assert body(archive, 1) == "We meet on Monday"
    check_vectors_are_of_texts(archive, embed)
    pair.write("UPDATE message_raw SET compression = 'zlib' WHERE message_id = 1")
    import_mail(archive, [pair.folder])
    assert body(archive, 1) == "Tomatoes want sun", "as soon as it can be read"
    check_vectors_are_of_texts(archive, embed)


def test_a_chat_deleted_here_and_edited_there(tmp_path: Path, embed: Embed, archive: Path) -> None:
    pair = write_pair(tmp_path / "mv", "v2", [chat(1, "apples and pears"), chat(2, "other")], embed)
    import_mail(archive, [pair.folder])
    number = str(here(archive)[1])
    delete_messages(archive, select_messages(archive, [number]))
    swap(pair, write_pair(tmp_path / "later", "v2", [chat(1, "submarines at night"), chat(2, "other")], embed))
    import_mail(archive, [pair.folder])
    undelete_messages(archive, [int(number)])
    import_mail(archive, [pair.folder])
    assert body(archive, 1) == "submarines at night"
    check_vectors_are_of_texts(archive, embed)
    check_invariants(archive)


def test_two_copies_of_an_account_of_which_one_is_older(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """The edit comes from one, and the other, with a vector of the old text, changes a flag."""
    old = write_pair(tmp_path / "old", "v2", [chat(1, "apples and pears", embedded=False), chat(2, "b")], embed)
    new = write_pair(tmp_path / "new", "v2", [chat(1, "apples and pears", embedded=False), chat(2, "b")], embed)
    import_mail(archive, [old.folder, new.folder])
    swap(
        new, write_pair(tmp_path / "newer", "v2", [chat(1, "submarines at night", embedded=False), chat(2, "b")], embed)
    )
    import_mail(archive, [new.folder])
    assert body(archive, 1) == "submarines at night"
    swap(old, write_pair(tmp_path / "older", "v2", [chat(1, "apples and pears"), chat(2, "b")], embed))
    old.write("UPDATE messages SET is_read = 0")
    import_mail(archive, [old.folder])
    assert body(archive, 1) == "submarines at night"
    check_vectors_are_of_texts(archive, embed)
    import_mail(archive, [new.folder])
    assert body(archive, 1) == "submarines at night"


def test_a_copy_that_lacks_something_takes_nothing_away(tmp_path: Path, embed: Embed, archive: Path) -> None:
    cast = [chat(1, "apples and pears"), mail(2, "Letter", "With all that belongs to it")]
    pair = write_pair(tmp_path / "mv", "v2", cast, embed)
    import_mail(archive, [pair.folder])
    poor = pair.copy(tmp_path / "poor")
    poor.write("DELETE FROM message_bodies WHERE message_id = 1")
    poor.write("DELETE FROM message_raw")
    done = import_mail(archive, [poor.folder])
    assert done.data.counts.added == 0, "the letter is the same letter"
    pair.write("DELETE FROM message_bodies")
    pair.write("DELETE FROM message_raw")
    import_mail(archive, [pair.folder])
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT body_text FROM message_bodies ORDER BY message_id") == [
            ("apples and pears",),
            ("With all that belongs to it",),
        ]
        assert opened.scalar("SELECT count(*) FROM message_raw") == 1
    check_vectors_are_of_texts(archive, embed)


def test_what_has_no_name_at_its_source_is_not_mistaken_for_another(
    tmp_path: Path, embed: Embed, archive: Path
) -> None:
    pairs = [
        write_pair(tmp_path / name, "v2", [chat(1, text), chat(2, "b " + text)], embed)
        for name, text in (("one", "apples and pears"), ("two", "submarines at night"))
    ]
    for pair in pairs:
        pair.write("UPDATE messages SET source_message_id = NULL")
        pair.write("UPDATE conversations SET source_conversation_id = NULL")
        import_mail(archive, [pair.folder])
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM messages") == 4
        assert opened.scalar("SELECT count(DISTINCT conversation_id) FROM messages") == 2


def test_a_new_name_of_a_group_or_a_flag_undoes_no_repair(tmp_path: Path, embed: Embed, archive: Path) -> None:
    cast = [chat(1, "Schöne GrÃ¼ße aus KÃ¶ln, wo es regnet", labels=("GrÃ¼ÃŸe",)), chat(2, "other")]
    pair = write_pair(tmp_path / "mv", "v2", cast, embed)
    import_mail(archive, [pair.folder])
    repair_encoding(archive, RepairRequest())
    right = body(archive, 1)
    labels = show_message(archive, here(archive)[1]).data.labels
    assert "Köln" in right
    assert labels == ("Grüße",)
    pair.write("UPDATE conversations SET title = 'Another'")
    pair.write("UPDATE messages SET is_read = 0")
    import_mail(archive, [pair.folder])
    assert body(archive, 1) == right
    assert show_message(archive, here(archive)[1]).data.labels == labels
    check_invariants(archive)


def test_texts_that_cannot_be_told_any_more_do_not_stand_for_new_ones(
    tmp_path: Path, embed: Embed, archive: Path
) -> None:
    """The right model was refused: it was compared by texts that the messages had before."""
    first = [chat(n, f"{TOPICS[n % 8]}, told to number {n}") for n in range(1, 21)]
    pair = write_pair(tmp_path / "mv", "v2", first, embed, model="my-own")
    import_mail(archive, [pair.folder])
    later = [chat(n, f"{TOPICS[(n + 3) % 8]}, said by number {n}") for n in range(1, 21)]
    swap(pair, write_pair(tmp_path / "later", "v2", later, embed, model="my-own"))
    pair.write("UPDATE embeddings SET chunk_char_end = 7", name="vectors.db")
    import_mail(archive, [pair.folder])
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM message_texts") == 0
    check_vectors_are_of_texts(archive, embed)


def test_a_deletion_there_is_told_once(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """A person who has brought the message back has decided."""
    pair = write_pair(tmp_path / "mv", "v2", [mail(1, "a", "b", deleted="at source"), mail(2, "c", "d")], embed)
    import_mail(archive, [pair.folder])
    number = str(here(archive)[1])
    undelete_messages(archive, [int(number)])
    pair.write("UPDATE messages SET is_read = 0")
    import_mail(archive, [pair.folder])
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM messages WHERE deleted_at IS NOT NULL") == 0


def test_an_older_vectors_db_is_not_trusted_where_it_can_be_told(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """By when a message changed; unless its text is what was embedded: a time moves with labels and dates, too."""
    mails = [mail(n, "Subject", f"Text number {n}") for n in range(1, 5)]
    pair = write_pair(tmp_path / "mv", "v3", mails, embed, model="my-own")
    pair.write("UPDATE messages SET content_changed_at = '2026-01-01 00:00:00.123' WHERE id IN (2, 3)")
    pair.write("UPDATE message_bodies SET body_text = 'Another text' WHERE message_id = 2")
    done = planned_and_done(archive, pair)
    assert done.data.msgvault[0].generations[0].again == {"not certain": 1}
    assert stamped(archive) == {1, 3, 4}


def test_numbers_beyond_all_bounds(tmp_path: Path, embed: Embed, archive: Path) -> None:
    mails = [chat(n, f"Text number {n}", attachments=("a.png",)) for n in range(1, 7)]
    pair = write_pair(tmp_path / "mv", "v2", mails, embed)
    pair.write("UPDATE attachments SET size = CAST('99999999999999999999' AS BLOB) WHERE message_id = 1")
    pair.write("UPDATE messages SET size_estimate = 1e300, sent_at = -99999999999 WHERE id = 2")
    pair.write("UPDATE messages SET sent_at = 9e18, deleted_at = NULL WHERE id = 3")
    pair.write("UPDATE messages SET sent_at = '0000-01-01 00:00:00' WHERE id = 4")
    pair.write("UPDATE embeddings SET chunk_char_start = 9223372036854775807 WHERE message_id = 5", name="vectors.db")
    pair.write("UPDATE embeddings SET chunk_char_end = '99999999999999999999' WHERE message_id = 6", name="vectors.db")
    done = import_mail(archive, [pair.folder])
    assert done.data.counts.added == 6
    for mode in ("text", "vector"):
        assert len(search_archive(archive, "text number", mode=mode).data.results) >= 4  # type: ignore[arg-type]
    check_invariants(archive)


def test_a_generation_pruned_while_it_is_adopted(tmp_path: Path, embed: Embed, archive: Path) -> None:
    mails = [mail(n, "Subject", f"Text number {n}") for n in range(1, 4)]
    pair = write_pair(tmp_path / "mv", "v2", mails[:2], embed)

    def prune() -> None:
        with open_archive(archive) as opened:
            opened.load_vec()
            opened.db.execute("UPDATE generations SET state = 'retired' WHERE id = 1")
            prune_generation(opened, 1)

    import_mail(archive, [pair.folder])
    swap(pair, write_pair(tmp_path / "later", "v2", mails, embed))
    pruned = []

    def once() -> None:
        if not pruned:
            pruned.append(True)
            prune()

    with action_at("import.before_transaction", once):
        done = import_mail(archive, [pair.folder])
    assert done.data.counts.added == 1
    assert "it was given up here before" in done.data.msgvault[0].passed_over[-1]
    check_invariants(archive)


def planned_and_done(archive: Path, pair: Pair) -> Result[Imported]:
    plan = plan_import(archive, [pair.folder])
    done = import_mail(archive, [pair.folder])
    planned, counts = plan.data.plans[0].counts, done.data.counts
    assert (planned.new, planned.changed) == (counts.added, counts.updated + counts.marked)
    assert (planned.unchanged, planned.duplicate, planned.deleted) == (
        counts.unchanged,
        counts.duplicate,
        counts.deleted,
    )
    before, after = plan.data.plans[0].msgvault, done.data.msgvault[0]
    assert (before.left_out, before.passed_over) == (after.left_out, after.passed_over)
    assert plan.exit_code == done.exit_code
    for one, other in zip(before.generations, after.generations, strict=True):
        for field in ("embedded", "blank", "vectors", "here_already", "again"):
            assert getattr(one, field) == getattr(other, field), field
    check_invariants(archive)
    return done


@pytest.mark.parametrize("first_is_embedded", [True, False])
def test_two_that_are_one_here_count_once(tmp_path: Path, embed: Embed, archive: Path, first_is_embedded: bool) -> None:
    one = mail(1, "Twice", "The same letter in two accounts", embedded=first_is_embedded)
    two = Mail(2, "Twice", "The same letter in two accounts", raw=one.raw, embedded=not first_is_embedded)
    pair = write_pair(tmp_path / "mv", "v2", [one, two, mail(3, "Other", "letter")], embed)
    done = planned_and_done(archive, pair)
    assert done.data.msgvault[0].generations[0].again == {}
    assert done.data.msgvault[0].generations[0].embedded == 2


def test_the_dry_run_says_what_the_import_does_at_every_step(tmp_path: Path, embed: Embed, archive: Path) -> None:
    pair = write_pair(tmp_path / "mv", "v1", CAST, embed)
    planned_and_done(archive, pair)
    build_embeddings(archive)
    done = planned_and_done(archive, pair)
    assert done.data.msgvault[0].generations[0].again == {}, "built here"
    pair.write("UPDATE messages SET is_read = 0")
    planned_and_done(archive, pair)
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE messages SET subject = 'Put right' WHERE id = 3")
    done = planned_and_done(archive, pair)
    assert done.data.msgvault[0].generations[0].again == {"edited here": 1}
    delete_messages(archive, select_messages(archive, ["4"]))
    planned_and_done(archive, pair)
    pair.write("DROP TABLE message_labels")
    planned_and_done(archive, pair)
    pair.write("DROP TABLE pending_embeddings", name="vectors.db")
    planned_and_done(archive, pair)
    assert len(CAST) - len(DELETED) > 0


def test_a_problem_that_is_no_more_is_forgotten(tmp_path: Path, embed: Embed, archive: Path) -> None:
    pair = write_pair(tmp_path / "mv", "v2", [chat(1, "hello"), mail(2, "a", "b")], embed, vectors=False)
    whole = pair.copy(tmp_path / "whole")
    pair.write("DROP TABLE message_bodies")
    import_mail(archive, [pair.folder])
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM problems") == 1
    swap(pair, whole)
    import_mail(archive, [pair.folder])
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM problems") == 0


def test_beside_a_generation_of_the_same_model_nothing_is_embedded_again(
    tmp_path: Path, cast_of: Cast, archive: Path, embed: Embed
) -> None:
    """The one in use takes over what it lacks."""
    box = tmp_path / "own.eml"
    box.write_bytes(mime(900, "My own", "Something that I embedded myself before"))
    import_mail(archive, [box])
    build_embeddings(archive)
    pair = cast_of("v2").copy(tmp_path / "mv")
    done = import_mail(archive, [pair.folder])
    compared = done.data.compared[0]
    assert (compared.same, compared.into, compared.taken_over) == (
        True,
        1,
        done.data.msgvault[0].generations[0].embedded + 1,
    )
    assert states(archive) == ["active", "retired"]
    assert len(stamped(archive, 1)) == compared.taken_over
    with open_archive_readonly(archive) as opened:
        made = opened.rows("SELECT DISTINCT embedded_at FROM chunks WHERE generation_id = 1")
    assert (EMBEDDED_AT,) in made
    check_invariants(archive)
    again = import_mail(archive, [pair.folder])
    assert again.data.compared == ()
    built = build_embeddings(archive)
    assert built.data.run.messages == len(CAST) - len(DELETED) - compared.taken_over
    check_invariants(archive)


def test_taking_over_is_of_one_space_only(tmp_path: Path, cast_of: Cast, archive: Path) -> None:
    import_mail(archive, [cast_of("v2", model="nomic-embed-text").folder])
    build_embeddings(archive, request_default())
    with open_archive(archive) as opened:
        from vaultembed.archive.generations.records import generation_with_id

        with pytest.raises(ValueError, match="different spaces"):
            adopted.take_over(opened, generation_with_id(opened, 1), generation_with_id(opened, 2))


def request_default() -> object:
    from vaultembed.service.embedding import BuildRequest

    return BuildRequest(new=True)


def test_what_else_lies_in_its_folder_is_named(tmp_path: Path, embed: Embed, archive: Path) -> None:
    pair = write_pair(tmp_path / "mv", "v2", [mail(1, "a", "b")], embed, vectors=False)
    (pair.folder / "other.mbox").write_bytes(b"From x Thu Mar  4 05:06:07 2021\n" + mime(5, "c", "d") + b"\n")
    done = import_mail(archive, [pair.folder])
    assert done.exit_code == 0
    assert any("Not looked at: " in note and "other.mbox" in note for note in done.notes)


def test_vectors_without_messages_are_told_apart(cast_of: Cast, archive: Path) -> None:
    with pytest.raises(UsageError, match="holds msgvault's vectors, without the messages"):
        import_mail(archive, [cast_of("v2").embeddings])


def test_a_chat_s_passage_shows_what_was_said(cast_of: Cast, archive: Path) -> None:
    import_mail(archive, [cast_of("v2").folder])
    found = search_archive(archive, "camping equipment", mode="vector").data.results[0]
    assert found.passage.text == "I bring the tent"
    assert found.passage.chunk_id is not None


def test_down_and_up_again_the_sources_are_what_they_were(cast_of: Cast, archive: Path) -> None:
    from tests.kit.embedded import at_version

    pair = cast_of("v2")
    import_mail(archive, [pair.folder])
    at_version(archive, 103)
    done = import_mail(archive, [pair.folder])
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT DISTINCT kind FROM sources") == [("msgvault",)]
        assert opened.scalar("SELECT count(*) FROM message_sources") == len(CAST)
    assert done.data.counts.added == 0
    assert ACTIVE
    check_invariants(archive)


def test_a_text_that_differs_there_only_changes_nothing_here(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """It comes from the mail as it was sent: an import and its dry run count it as unchanged."""
    pair = write_pair(tmp_path / "mv", "v2", [mail(n, f"Subject {n}", f"Text number {n}") for n in (1, 2)], embed)
    import_mail(archive, [pair.folder])
    pair.write("UPDATE message_bodies SET body_text = 'G?rbled' WHERE message_id = 1")
    assert planned_and_done(archive, pair).data.counts.unchanged == 2


def test_what_was_deleted_here_and_what_was_lost_there_count_the_same_beforehand(tmp_path: Path, archive: Path) -> None:
    letter = mail(1, "The roof of the barn", "It is leaking again after the storm")
    copy = replace(letter, id=2)
    mails = [letter, copy, chat(3, "apples and pears"), mail(4, "Other", "letter"), mail(5, "Third", "letter")]
    pair = write_pair(tmp_path / "mv", "v3", mails, None, vectors=False)  # type: ignore[arg-type]
    pair.write("UPDATE messages SET rfc822_message_id = '<1@example.org>' WHERE id = 2")
    planned_and_done(archive, pair)
    delete_messages(archive, select_messages(archive, ["2", "3"]))
    # read again here, and from another place
    pair.write("UPDATE message_bodies SET body_text = 'more apples' WHERE message_id IN (3, 4)")
    assert planned_and_done(archive, pair).data.counts.deleted == 2
    other = pair.copy(tmp_path / "moved")
    assert planned_and_done(archive, other).data.counts.deleted == 2
    pair.write("UPDATE messages SET deleted_from_source_at = '2026-01-01 00:00:00' WHERE id IN (4, 5)")
    planned_and_done(archive, pair)
    for lost in (2, 1, 4):
        pair.write("DELETE FROM message_raw WHERE message_id = ?", lost)
        assert planned_and_done(archive, pair).data.counts.updated == 0
    pair.write("UPDATE messages SET deleted_from_source_at = NULL")
    planned_and_done(archive, pair)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_mail_that_comes_after_what_was_kept_of_it_is_that_message(
    tmp_path: Path, embed: Embed, archive: Path, at_once: bool
) -> None:
    kept = Mail(1, "The roof of the barn", "It is leaking again after the storm")
    whole = mail(1, "The roof of the barn", "It is leaking again after the storm")
    other = Mail(3, "Lentil soup", "with cumin, as ever")
    first = [kept, other, *([replace(whole, id=2)] if at_once else [])]
    pair = write_pair(tmp_path / "mv", "v3", first, embed)
    pair.write("UPDATE messages SET rfc822_message_id = '<1@example.org>' WHERE id < 3")
    counts = planned_and_done(archive, pair).data.counts
    assert (counts.added, counts.duplicate) == ((2, 1) if at_once else (2, 0))
    box = tmp_path / "one.eml"
    box.write_bytes(whole.raw or b"")
    counts = import_mail(archive, [box]).data.counts
    assert (counts.added, counts.duplicate) == (0, 1)
    assert planned_and_done(archive, pair).data.counts.unchanged == len(first)
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT message_id FROM message_raw") == [(here(archive)[1],)]
        assert opened.scalar("SELECT count(*) FROM messages") == 2
    check_vectors_are_of_texts(archive, embed)


def test_an_archive_that_comes_after_a_copy_without_raw_forms_adds_nothing(
    tmp_path: Path, embed: Embed, archive: Path
) -> None:
    pair = write_pair(tmp_path / "mv", "v3", [mail(n, f"Subject {n}", f"Text {n}") for n in (1, 2, 3)], embed)
    poor = pair.copy(tmp_path / "poor")
    poor.write("DELETE FROM message_raw")
    for one, duplicate in ((poor, 0), (pair, 3), (poor, 0), (pair, 0)):
        assert planned_and_done(archive, one).data.counts.duplicate == duplicate
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT (SELECT count(*) FROM messages), count(*) FROM message_raw") == [(3, 3)]


def test_what_somebody_edited_is_not_written_over_by_the_mail_it_was_made_of(tmp_path: Path, archive: Path) -> None:
    mails = [Mail(1, "The roof of the barn", "It is leaking again after the storm")]
    pair = write_pair(tmp_path / "mv", "v3", mails, None, vectors=False)  # type: ignore[arg-type]
    import_mail(archive, [pair.folder])
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE messages SET subject = 'The roof of my barn'")
    box = tmp_path / "one.eml"
    box.write_bytes(mime(1, "The roof of the barn", "It is leaking again after the storm"))
    assert import_mail(archive, [box]).data.counts.added == 1
