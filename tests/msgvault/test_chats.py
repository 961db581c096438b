"""People and messages of chats, which msgvault names in ways of its own."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.kit.archives import check_invariants
from tests.kit.msgvault import Embed, Mail, Pair, mail, write_pair
from vaultembed.archive.database import Within, open_archive, open_archive_readonly
from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.fulltext import count_stale, refresh_stale
from vaultembed.cli.showing import render
from vaultembed.message import Person
from vaultembed.service.deletion import select_messages
from vaultembed.service.display import Fence
from vaultembed.service.import_plan import plan_import
from vaultembed.service.importing import import_mail
from vaultembed.service.listing import read_message, read_thread, thread_of
from vaultembed.service.repair_runs import undo_repair
from vaultembed.service.repairing import RepairRequest, repair_encoding
from vaultembed.service.searching import search_archive
from vaultembed.service.showing import show_message
from vaultembed.service.statistics import archive_statistics
from vaultembed.serving.mcp.answers import message_answer

Told = dict[str, tuple[str | None, str | None, set[str]]]


def told(archive: Path) -> Told:
    """By text: address and name of the sender, addresses of the recipients."""
    with open_archive_readonly(archive) as opened:
        return {
            text.strip(): (address, name, set((recipients or "").split()))
            for text, address, name, recipients in opened.rows(
                "SELECT coalesce(nullif(b.body_text, ''), m.subject), p.address, p.name,"
                " (SELECT group_concat(q.address, ' ') FROM message_recipients r"
                " JOIN participants q ON q.id = r.participant_id WHERE r.message_id = m.id)"
                " FROM messages m LEFT JOIN message_bodies b ON b.message_id = m.id"
                " LEFT JOIN participants p ON p.id = m.sender_id"
            )
        }


IDENTIFIED = """
CREATE TABLE participant_identifiers(id INTEGER PRIMARY KEY, participant_id INTEGER, identifier_type TEXT,
    identifier_value TEXT, display_value TEXT);
CREATE TABLE conversation_participants(conversation_id INTEGER, participant_id INTEGER, role TEXT);
UPDATE conversations SET conversation_type = 'group_chat' WHERE id = 7;
UPDATE participants SET phone_number = NULL;
INSERT INTO participant_identifiers(participant_id, identifier_value) SELECT id, 'U0' || id FROM participants
    WHERE display_name = 'Mo';
INSERT INTO participant_identifiers(participant_id, identifier_value) SELECT id, 'Bank4U' FROM participants
    WHERE display_name = '(Unknown)';
UPDATE participants SET display_name = '(Unknown)' WHERE display_name = 'Nobody';
INSERT INTO conversation_participants SELECT 7, id, 'member' FROM participants;
"""


def test_people_without_address_or_number_are_known_by_their_identifier(tmp_path: Path, archive: Path) -> None:
    chats = [
        Mail(1, body="from a workspace", kind="slack", sender=("1", "Mo"), to=(), conversation=7),
        Mail(2, body="from a bank", kind="sms", sender=("2", "(Unknown)"), to=(("to", "1", "Mo"),), conversation=7),
        Mail(3, body="from nobody", kind="sms", sender=("3", "Nobody"), to=(), conversation=7),
    ]
    pair = write_pair(tmp_path / "data", "v3", chats, None, vectors=False)  # type: ignore[arg-type]
    pair.write(IDENTIFIED)
    pair.write("DELETE FROM message_recipients WHERE display_name = 'Nobody' OR recipient_type = 'from'")
    planned = plan_import(archive, [pair.folder]).data.plans[0].counts
    assert import_mail(archive, [pair.folder]).data.counts.added == planned.new == 3
    assert told(archive) == {
        "from a workspace": ("u01", "Mo", {"bank4u"}),
        "from a bank": ("bank4u", "Bank4U", {"u01"}),
        "from nobody": (None, None, {"u01", "bank4u"}),
    }


def test_people_of_a_chat_are_all_of_them_by_their_best_name(tmp_path: Path, archive: Path) -> None:
    chats = [
        replace(said(1, "to all, and to Jo", "Mo"), to=(("mention", "+49185", "Jo"),)),
        replace(said(2, "from one called so", "Jo"), to=()),
        said(3, "to an old number", "Lou", conversation=9),
    ]
    pair = write_pair(tmp_path / "data", "v3", chats, None, vectors=False)  # type: ignore[arg-type]
    pair.write(IDENTIFIED)
    pair.write("DELETE FROM conversation_participants WHERE participant_id NOT IN (SELECT sender_id FROM messages)")
    pair.write("UPDATE participants SET phone_number = 'n' || id WHERE display_name <> 'Lou'")
    pair.write(
        "INSERT INTO participant_identifiers(participant_id, identifier_value)"
        " SELECT p.id, value FROM participants p, json_each('[\"  \", \"U07\"]') WHERE display_name = 'Lou'"
    )
    pair.write("UPDATE message_recipients SET display_name = 'Jo K.' WHERE message_id = 2")
    pair.write("UPDATE message_recipients SET display_name = '(Unknown)' WHERE message_id = 3")
    import_mail(archive, [pair.folder])
    assert told(archive) == {
        "to all, and to Jo": ("n1", "Mo", {"n2", "u07"}),
        "from one called so": ("n2", "Jo K.", {"n1", "u07"}),
        "to an old number": ("u07", "Lou", {"n4"}),
    }
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT kind FROM message_recipients WHERE kind = 'mention'") == [("mention",)]
        assert opened.scalar("SELECT count(*) FROM participants WHERE address = 'n4' AND name = 'Me'") == 1


def equal_ids(n: int, text: str | None, **more: object) -> Mail:
    return Mail(n, body=text, kind="whatsapp", conversation=7, **more)  # type: ignore[arg-type]


def test_an_equal_message_id_makes_no_duplicate_of_what_says_something_else(tmp_path: Path, archive: Path) -> None:
    """Kind, text and date speak too; the dry run counts as the import does, before and after."""
    letter = mail(1, "The roof of the barn", "It is leaking again after the storm, have a look")
    mails = [
        letter,
        *(equal_ids(n, f"message number {n} of many") for n in range(2, 30)),
        equal_ids(30, "message number 2 of many"),  # said twice in the same second: one
        # nor are these, of the same second
        equal_ids(40, "ok"),
        equal_ids(41, "ok", sender=("+49171", "Jo")),
        replace(equal_ids(42, "ok"), conversation=8),
        equal_ids(43, None, attachments=("sunrise.png",)),
        equal_ids(44, None, attachments=("sunset.png",)),
        Mail(31, subject="The roof of the barn", body="It is leaking again, after the storm; have a look!"),
        Mail(32, subject="The roof of the barn", body="It is leaking", sent_at="2023-03-04 05:06:07+00:00"),
        Mail(33, subject="Lentil soup", body="with cumin"),
    ]
    pair = write_pair(tmp_path / "data", "v3", mails, None, vectors=False)  # type: ignore[arg-type]
    pair.write("UPDATE messages SET source_message_id = NULL, rfc822_message_id = '<same@example.org>' WHERE id > 1")
    pair.write("UPDATE messages SET rfc822_message_id = '<1@example.org>' WHERE id IN (31, 32, 33)")
    for new in (36, 0):
        planned = plan_import(archive, [pair.folder]).data.plans[0].counts
        counts = import_mail(archive, [pair.folder]).data.counts
        assert (planned.new, planned.duplicate, planned.unchanged) == (counts.added, counts.duplicate, counts.unchanged)
        assert counts.added == new
    assert {f"message number {n} of many" for n in range(2, 30)} < set(told(archive))


GROUP: Final = """
CREATE TABLE reactions(id INTEGER PRIMARY KEY, message_id INTEGER, participant_id INTEGER, reaction_type TEXT,
    reaction_value TEXT, created_at DATETIME, removed_at DATETIME);
ALTER TABLE messages ADD COLUMN reply_to_message_id INTEGER;
UPDATE conversations SET conversation_type = 'group_chat', title = 'Boat trip 2024' WHERE id = 7;
UPDATE conversations SET conversation_type = 'direct_chat', title = '(Unknown)' WHERE id = 8;
UPDATE messages SET reply_to_message_id = 3 WHERE id = 2;
UPDATE messages SET reply_to_message_id = 1 WHERE id = 5;
INSERT INTO reactions(message_id, participant_id, reaction_value, removed_at)
    SELECT 1, id, 'love', NULL FROM participants WHERE display_name = 'Jo'
    UNION ALL SELECT 1, 999, 'like', NULL UNION ALL SELECT 1, 999, 'gone', '2024-01-01';
"""


def said(n: int, text: str | None, sender: str, conversation: int = 7, **more: object) -> Mail:
    number = f"+49{sum(map(ord, sender))}"
    to = (("to", "+49179", "Me"),)
    return Mail(n, body=text, kind="whatsapp", sender=(number, sender), to=to, conversation=conversation, **more)  # type: ignore[arg-type]


def write_group(folder: Path, embed: Embed | None) -> Pair:
    chats = [
        said(1, "who brings the sail", "Mo", subject="who brings"),
        said(2, "I do", "Jo"),
        said(3, "and who brings the bread", "Lou", subject="Provisions"),
        said(4, None, "Lou", attachments=("map.png",)),
        said(5, "she will not come, between us", "Jo", conversation=8),
        mail(6, "Re: Boat trip 2024", "a letter about the weather"),
    ]
    pair = write_pair(folder, "v3", chats, embed, vectors=embed is not None)  # type: ignore[arg-type]
    pair.write(GROUP)
    return pair


def shown(archive: Path, message_id: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    render(show_message(archive, message_id).data)
    return capsys.readouterr().out.splitlines()


def found_by(archive: Path, query: str) -> set[int]:
    return {found.id for found in search_archive(archive, query, mode="text").data.results}


def outcomes(archive: Path) -> list[tuple[object, ...]]:
    with open_archive_readonly(archive) as opened:
        return opened.rows("SELECT id, content_rev, embed_gen FROM messages") + opened.rows(
            "SELECT message_id, content_rev, at FROM embed_outcomes ORDER BY 1"
        )


def test_a_chat_reads_as_a_chat(
    tmp_path: Path, archive: Path, embed: Embed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    import_mail(archive, [write_group(tmp_path / "data", embed).folder])
    assert shown(archive, 1, capsys) == [
        "From:        Mo <+49188>",
        "To:          Me <+49179>",
        "Date:        2021-03-04T05:06:07+00:00",
        "Chat:        Boat trip 2024",
        f"Found in:    {tmp_path / 'data' / 'msgvault.db'}#1 [seen]",
        "",
        "who brings the sail",
        "",
        "love Jo",
        "like somebody",
        "",
        "Boat trip 2024, chat of 4 messages with Jo, Lou, Me, Mo:",
        " *      1  2021-03-04 05:06  Mo: who brings the sail",
        "        2  2021-03-04 05:06  Jo: I do",
        "        3  2021-03-04 05:06  Lou: Provisions: and who brings the bread",
        "        4  2021-03-04 05:06  Lou: [map.png]",
    ]
    # an answer may stand before what it answers, and in another chat, which stays another
    assert "Reply to:    3 Lou: Provisions: and who brings the bread" in shown(archive, 2, capsys)
    assert "Reply to:    1 Mo: who brings the sail" in shown(archive, 5, capsys)
    view = show_message(archive, 5).data
    assert (view.chat, len(view.conversation)) == ("", 1)
    assert show_message(archive, 6).data.chat is None
    for query in ("boat", 'subject:"boat trip"', "subject:boat type:whatsapp"):
        assert found_by(archive, query) - {6} == {1, 2, 3, 4}
    hit = search_archive(archive, "bread", mode="text").data.results[0]
    assert (hit.chat, hit.subject, hit.passage.text) == ("Boat trip 2024", "Provisions", "and who brings the bread")
    assert [line.subject for line in select_messages(archive, ["2", "3"]).first] == ["I do", "Provisions"]
    page, thread = read_message(archive, 1).data, read_thread(archive, thread_of(archive, 1)).data
    assert [(each.reaction, each.person) for each in page.reactions] == [
        ("love", Person("+49185", "Jo")),
        ("like", None),
    ]
    assert read_message(archive, 2).data.reply_to == 3
    answer = message_answer(page, Fence())
    assert (answer.chat, answer.subject, [each.name for each in answer.reactions]) == ("Boat trip 2024", "", ["Jo", ""])
    assert [person.name for person in thread.people] == ["Jo", "Lou", "Me", "Mo"]
    with open_archive_readonly(archive) as opened:
        texts = opened.rows("SELECT text FROM message_texts WHERE text LIKE '%Boat trip%' OR text LIKE '%love%'")
    assert texts in ([], [("Subject: Re: Boat trip 2024\n\na letter about the weather",)])


def test_of_a_long_chat_what_stands_around_the_message_is_shown(
    tmp_path: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_mail(archive, [write_group(tmp_path / "data", None).folder])
    view = show_message(archive, 1).data
    entry = view.conversation[0]
    render(replace(view, id=100, conversation=tuple(replace(entry, id=n) for n in range(1, 20_001))))
    lines = capsys.readouterr().out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("Boat trip 2024, chat of 20,000 messages"))
    assert (lines[at + 1], lines[-1]) == ("       49 before these", "   19,850 after these")
    assert [line[:9] for line in lines[at + 2 : -1]] == [f" {'*' if n == 100 else ' '} {n:>6}" for n in range(50, 151)]


def test_a_new_name_and_other_reactions_come_over_and_nothing_is_embedded_for_them(
    tmp_path: Path, archive: Path, embed: Embed
) -> None:
    pair = write_group(tmp_path / "data", embed)
    import_mail(archive, [pair.folder])
    before = outcomes(archive)
    pair.write("UPDATE conversations SET title = 'Sailing 2025' WHERE id = 7")
    pair.write("UPDATE reactions SET removed_at = '2024-05-05' WHERE reaction_value = 'love'")
    pair.write("INSERT INTO reactions(message_id, participant_id, reaction_value) VALUES (2, 1, 'laugh')")
    counts = import_mail(archive, [pair.folder]).data.counts
    assert (counts.marked, counts.updated, counts.unchanged) == (4, 0, 2)
    assert outcomes(archive) == before
    assert (found_by(archive, "subject:sailing"), found_by(archive, "subject:boat")) == ({1, 2, 3, 4}, {6})
    views = [show_message(archive, n).data for n in (1, 2)]
    assert [[each.reaction for each in view.reactions] for view in views] == [["like"], ["laugh"]]
    assert {view.chat for view in views} == {"Sailing 2025"}
    # what is gone there keeps what it answered; and what is renamed by a shell is found by its name, too
    pair.write("DELETE FROM messages WHERE id = 2")
    import_mail(archive, [pair.folder])
    reply = show_message(archive, 2).data.reply_to
    assert reply is not None
    assert reply.id == 3
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE conversations SET subject = 'Regatta' WHERE is_chat AND subject <> ''")
        assert count_stale(opened) == 4
        refresh_stale(opened)
    assert found_by(archive, "regatta") == {1, 2, 3, 4}
    check_invariants(archive)


def test_of_two_copies_of_a_chat_reactions_go_once_both_say_so(tmp_path: Path, archive: Path) -> None:
    pair = write_group(tmp_path / "data", None)
    copy = pair.copy(tmp_path / "copy")
    import_mail(archive, [pair.folder, copy.folder])
    for one, left in ((copy, {"love", "like"}), (pair, {"like"})):
        one.write("UPDATE reactions SET removed_at = '2024-05-05' WHERE reaction_value = 'love'")
        import_mail(archive, [one.folder])
        assert {each.reaction for each in show_message(archive, 1).data.reactions} == left
    # and a reply is to what the copy says that still has it
    pair.write("DELETE FROM messages WHERE id = 2")
    copy.write("UPDATE messages SET reply_to_message_id = 1 WHERE id = 2")
    import_mail(archive, [pair.folder, copy.folder])
    assert read_message(archive, 2).data.reply_to == 1


def test_a_name_that_was_repaired_stays_until_it_changes_there(tmp_path: Path, archive: Path, embed: Embed) -> None:
    pair = write_group(tmp_path / "data", embed)
    pair.write("UPDATE conversations SET title = 'CafÃ© am FluÃŸ' WHERE id = 7")
    pair.write("UPDATE participants SET display_name = 'JÃ¶' WHERE display_name = 'Jo'")
    pair.write("UPDATE message_recipients SET display_name = 'JÃ¶' WHERE display_name = 'Jo'")
    import_mail(archive, [pair.folder])
    repair_encoding(archive, RepairRequest())
    for change in ("SELECT 1", "UPDATE messages SET is_read = 0"):
        pair.write(change)
        import_mail(archive, [pair.folder])
        view = show_message(archive, 1).data
        assert view.chat == "Café am Fluß"
        assert view.reactions[0].person == Person("+49185", "Jö")
        assert found_by(archive, "subject:café") == {1, 2, 3, 4}
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT thread_key FROM conversations WHERE is_chat") == [("",), ("",)]
    undo_repair(archive, 1)
    assert (found_by(archive, "subject:café"), found_by(archive, "subject:cafã")) == (set(), {1, 2, 3, 4})
    pair.write("UPDATE conversations SET title = 'Boat' WHERE id = 7")
    import_mail(archive, [pair.folder])
    assert show_message(archive, 1).data.chat == "Boat"


@pytest.mark.parametrize(("within", "people"), [("2, 5", {"Jo", "Me"}), ("1", {"Jo", "Me", "Mo"})])
def test_of_a_chat_only_what_lies_within_a_horizon_is_told(
    tmp_path: Path, archive: Path, within: str, people: set[str]
) -> None:
    import_mail(archive, [write_group(tmp_path / "data", None).folder])
    part = Within(archive, lambda: Filter(f"m.id IN ({within})"))
    for message_id in map(int, within.split(", ")):
        page, thread = read_message(part, message_id).data, read_thread(part, thread_of(part, message_id)).data
        assert (page.reply_to, thread.total) == (None, 1)
        assert {each.name for each in thread.people} <= people - ({"Jo"} if within == "1" else set())
        assert len(page.reactions) == (2 if message_id == 1 else 0)
    assert archive_statistics(part).data.totals.people == len(people)  # type: ignore[union-attr]


def test_chats_and_mail_are_never_joined(tmp_path: Path, archive: Path) -> None:
    """By a subject, by a quote, nor by equal Message-IDs, which bridges give."""
    chats = [
        mail(1, "Lunch", "a letter"),
        said(2, "at noon", "Mo", subject="Re: Lunch"),
        said(3, "or at one", "Mo", conversation=8, subject="Re: Lunch"),
        Mail(4, subject="Re: Lunch", body="an answer", sent_at="2021-03-05 05:06:07+00:00"),
    ]
    pair = write_pair(tmp_path / "data", "v3", chats, None, vectors=False)  # type: ignore[arg-type]
    pair.write("UPDATE conversations SET conversation_type = 'direct_chat' WHERE id IN (7, 8)")
    pair.write("UPDATE messages SET rfc822_message_id = '<same@bridge>' WHERE id IN (2, 3)")
    import_mail(archive, [pair.folder])
    with open_archive_readonly(archive) as opened:
        threads = dict(opened.rows("SELECT id, conversation_id FROM messages"))
    assert threads[1] == threads[4]
    assert len(set(threads.values())) == 3


def test_chats_of_the_real_program(shared_data: Path, tmp_path: Path, archive: Path) -> None:
    packed = shared_data / "msgvault" / "chats.tar.gz"
    if not packed.exists():
        pytest.skip(f"{packed} is not there")
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path, filter="data")
    assert import_mail(archive, [tmp_path / "chats"]).data.counts.added == 22
    found = told(archive)
    assert found["Your one-time code is 482913. Never share it."][:2] == ("bank4u", "Bank4U")
    assert found["Your parcel was delivered to the neighbour"][:2] == ("22395", "")
    assert found["STOP"][2] == {"pizza"}
    assert found["The tiler can start in March"][2] == {"+447700900001", "+447700900002", "+447700900003"}
    assert all(sender and recipients for sender, _, recipients in found.values())
    (tiles,) = found_by(archive, '"terracotta or slate"')
    (answer,) = found_by(archive, '"I prefer slate"')
    view = show_message(archive, answer).data
    assert view.chat == "Kitchen renovation 🔨"
    assert [each.reaction for each in view.reactions] == ["❤️", "😂"]
    assert view.reply_to is not None
    assert view.reply_to.id == tiles
    assert len(found_by(archive, "kitchen")) == len(view.conversation) == 6
