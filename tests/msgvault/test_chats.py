"""People and messages of chats, which msgvault names in ways of its own."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.kit.msgvault import Mail, mail, write_pair
from vaultembed.archive.database import open_archive_readonly
from vaultembed.service.import_plan import plan_import
from vaultembed.service.importing import import_mail

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


def equal_ids(n: int, text: str, **more: object) -> Mail:
    return Mail(n, body=text, kind="whatsapp", conversation=7, **more)  # type: ignore[arg-type]


def test_an_equal_message_id_makes_no_duplicate_of_what_says_something_else(tmp_path: Path, archive: Path) -> None:
    """Kind, text and date speak too; the dry run counts as the import does, before and after."""
    letter = mail(1, "The roof of the barn", "It is leaking again after the storm, have a look")
    mails = [
        letter,
        *(equal_ids(n, f"message number {n} of many") for n in range(2, 30)),
        equal_ids(30, "message number 2 of many"),  # said twice in the same second: one
        Mail(31, subject="The roof of the barn", body="It is leaking again, after the storm; have a look!"),
        Mail(32, subject="The roof of the barn", body="It is leaking", sent_at="2023-03-04 05:06:07+00:00"),
        Mail(33, subject="Lentil soup", body="with cumin"),
    ]
    pair = write_pair(tmp_path / "data", "v3", mails, None, vectors=False)  # type: ignore[arg-type]
    pair.write("UPDATE messages SET source_message_id = NULL, rfc822_message_id = '<same@example.org>' WHERE id > 1")
    pair.write("UPDATE messages SET rfc822_message_id = '<1@example.org>' WHERE id > 30")
    for new in (31, 0):
        planned = plan_import(archive, [pair.folder]).data.plans[0].counts
        counts = import_mail(archive, [pair.folder]).data.counts
        assert (planned.new, planned.duplicate, planned.unchanged) == (counts.added, counts.duplicate, counts.unchanged)
        assert counts.added == new
    assert {f"message number {n} of many" for n in range(2, 30)} < set(told(archive))


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
