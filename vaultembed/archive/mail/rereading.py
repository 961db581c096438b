"""Writes what a newer reader makes of messages that are here: only what differs, and over nothing that somebody wrote.
Every function works in the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import number_of, text_of
from vaultembed.archive.mail.deletion import remove_unused_participant
from vaultembed.archive.mail.fulltext import index_messages
from vaultembed.archive.mail.labels import set_labels
from vaultembed.archive.mail.messages import write_over
from vaultembed.archive.mail.places import first_place
from vaultembed.archive.mail.problems import problems_of, record_problems
from vaultembed.archive.mail.readings import (
    PARTS,
    as_stored,
    digests_of,
    last_digests,
    record_reader,
    record_reading,
)
from vaultembed.archive.mail.repairs import settle_outcomes
from vaultembed.archive.mail.threads import conversation_of, forget_headers, headers_of, write_references
from vaultembed.message import Attachment, ParsedMessage, Person, Problem, Recipient
from vaultembed.text.embeddable.prepare import prepare_text
from vaultembed.text.embeddable.subject import base_subject
from vaultembed.text.problems import LEFT_OUT_KINDS


@dataclass(frozen=True, slots=True)
class Reread:
    differs: bool
    """Something of it stands here that did not."""
    conversation_id: int | None
    """Whose messages may no longer belong together."""
    problems: tuple[Problem, ...]
    """That were not known of it."""


def read_again(archive: Archive, message_id: int, found: ParsedMessage) -> Reread:
    """`found`: what the reader of this version makes of a message that an earlier one has read. To be followed by
    `finish_rereads`."""
    new, here = as_stored(found), stored_message(archive, message_id)
    known = set(here.problems)
    news = tuple(problem for problem in new.problems if problem not in known)
    if any(problem.kind in LEFT_OUT_KINDS for problem in news):  # too much this time: what is here is more
        record_reader(archive, message_id, new.reader)
        return Reread(differs=False, conversation_id=None, problems=())
    now = _merged(archive, message_id, here, new)
    if news or known - set(new.problems):
        archive.execute("DELETE FROM problems WHERE message_id = ?", (message_id,))
        source_id, locator = first_place(archive, message_id)
        record_problems(archive, source_id, message_id, locator, new.problems)
    record_reading(archive, message_id, new)
    if all(getattr(now, name) == getattr(here, name) for names in PARTS for name in names):
        return Reread(differs=False, conversation_id=None, problems=news)
    return Reread(differs=True, conversation_id=_write(archive, message_id, here, now), problems=news)


def _merged(archive: Archive, message_id: int, here: ParsedMessage, new: ParsedMessage) -> ParsedMessage:
    """What is to stand here: of each part what is new in `new`, unless somebody has written over it."""
    kept: dict[str, object] = {}
    for names, before, is_here, found in zip(
        PARTS, last_digests(archive, message_id), digests_of(here), digests_of(new), strict=True
    ):
        if found == before or (is_here != before and before):
            kept |= {name: getattr(here, name) for name in names}
            if names == ("labels",) and found != before:  # other copies have theirs
                kept["labels"] = tuple(sorted({*here.labels, *new.labels}))
    return replace(new, **kept)  # type: ignore[arg-type]


def _write(archive: Archive, message_id: int, here: ParsedMessage, now: ParsedMessage) -> int | None:
    """Returns the conversation that may fall apart by this."""
    (before,) = archive.rows("SELECT content_rev, embed_gen, conversation_id FROM messages WHERE id = ?", (message_id,))
    people = _people_of(archive, message_id)
    said = headers_of(archive, [message_id])
    is_chat = archive.scalar("SELECT is_chat FROM conversations WHERE id = ?", (before[2],))
    same_ids = _ids(here) == _ids(now)
    conversation_id = before[2] if is_chat or same_ids or not any(_ids(now)) else conversation_of(archive, now)
    write_over(archive, message_id, now, conversation_id)
    set_labels(archive, message_id, now.labels)
    forget_headers(archive, said)
    for participant_id in people - _people_of(archive, message_id):
        remove_unused_participant(archive, participant_id)
    settle_outcomes(archive, message_id, before[:2], keeps_embedding=_is_embedded_alike(here, now))
    same_subject = base_subject(here.subject) == base_subject(now.subject)
    return None if is_chat or (same_ids and same_subject) else conversation_id


def _ids(message: ParsedMessage) -> tuple[object, ...]:
    return message.rfc822_message_id, message.in_reply_to, message.references


def _is_embedded_alike(one: ParsedMessage, other: ParsedMessage) -> bool:
    inputs = [(each.subject, each.body_text, each.in_reply_to is not None) for each in (one, other)]
    return inputs[0] == inputs[1] or len({prepare_text(*texts, answers=answers) for *texts, answers in inputs}) == 1


def _people_of(archive: Archive, message_id: int) -> set[int]:
    return {
        row[0]
        for row in archive.rows(
            "SELECT sender_id FROM messages WHERE id = ?1 AND sender_id IS NOT NULL"
            " UNION SELECT participant_id FROM message_recipients WHERE message_id = ?1",
            (message_id,),
        )
    }


def stored_message(archive: Archive, message_id: int) -> ParsedMessage:
    """A message as its rows have it."""
    texts = ", ".join(
        text_of(column)
        for column in ("m.rfc822_message_id", "m.in_reply_to", "m.subject", "m.list_id", "p.address", "p.name")
    )
    message_id_header, in_reply_to, subject, list_id, address, name, body, *rest = archive.row(  # type: ignore[misc]
        f"SELECT {texts}, coalesce({text_of('b.body_text')}, ''), {number_of('m.sent_at')},"
        f" {number_of('m.zone_minutes')}, m.size_bytes, m.message_type, m.content_hash"
        " FROM messages m LEFT JOIN participants p ON p.id = m.sender_id"
        " LEFT JOIN message_bodies b ON b.message_id = m.id WHERE m.id = ?",
        (message_id,),
    )
    recipients = archive.rows(
        f"SELECT r.kind, {text_of('p.address')}, {text_of('p.name')} FROM message_recipients r"
        " JOIN participants p ON p.id = r.participant_id WHERE r.message_id = ? ORDER BY r.kind, r.position",
        (message_id,),
    )
    attachments = archive.rows(
        f"SELECT {text_of('filename')}, {text_of('mime_type')}, size, sha256, inline FROM attachments"
        " WHERE message_id = ? ORDER BY position",
        (message_id,),
    )
    return ParsedMessage(
        rfc822_message_id=message_id_header,
        in_reply_to=in_reply_to,
        references=_names(
            archive,
            f"SELECT {text_of('t.rfc822_message_id')} FROM message_references r JOIN thread_ids t ON t.id = r.thread_id"
            " WHERE r.message_id = ? ORDER BY r.position",
            message_id,
        ),
        subject=subject,
        sent_at=rest[0],
        zone_minutes=rest[1],
        sender=None if address is None else Person(address, name),
        recipients=tuple(Recipient(kind, Person(*person)) for kind, *person in recipients),
        list_id=list_id,
        labels=tuple(
            sorted(
                _names(
                    archive,
                    f"SELECT {text_of('l.name')} FROM message_labels x JOIN labels l ON l.id = x.label_id"
                    " WHERE x.message_id = ? AND l.kind = 'label'",
                    message_id,
                )
            )
        ),
        body_text=body,
        attachments=tuple(
            Attachment(name, kind, size, sha, bool(inline)) for name, kind, size, sha, inline in attachments
        ),
        size_bytes=rest[2],
        problems=tuple(Problem(each.kind, each.detail) for each in problems_of(archive, message_id)),
        message_type=rest[3],
        content_hash=rest[4],
    )


def _names(archive: Archive, sql: str, message_id: int) -> tuple[str, ...]:
    return tuple(row[0] for row in archive.rows(sql, (message_id,)))


def finish_rereads(archive: Archive, done: Mapping[int, Reread]) -> None:
    """Last in the transaction, of all that were read again in it, by their ids."""
    _join_anew(archive, {each.conversation_id for each in done.values() if each.conversation_id is not None})
    index_messages(archive, sorted(message_id for message_id, each in done.items() if each.differs))


def _join_anew(archive: Archive, conversation_ids: Iterable[int]) -> None:
    """Take conversations apart whose messages no longer name each other, and join each message as if it came in now."""
    for conversation_id in sorted(conversation_ids):
        ids = [
            row[0]
            for row in archive.rows("SELECT id FROM messages WHERE conversation_id = ? ORDER BY id", (conversation_id,))
        ]
        messages = {message_id: stored_message(archive, message_id) for message_id in ids}
        names = [_names_in(message) for message in messages.values()]
        seen_here = {
            row[0]
            for row in archive.rows(
                f"SELECT {text_of('rfc822_message_id')} FROM thread_ids WHERE conversation_id = ?", (conversation_id,)
            )
        }
        # a name that no message says is msgvault's for a conversation, and joins what no header does
        if _is_one(names) or seen_here - set().union(*names):
            continue
        archive.execute(
            "DELETE FROM message_references WHERE message_id IN (SELECT id FROM messages WHERE conversation_id = ?)",
            (conversation_id,),
        )
        archive.execute("UPDATE messages SET conversation_id = NULL WHERE conversation_id = ?", (conversation_id,))
        archive.execute("DELETE FROM thread_ids WHERE conversation_id = ?", (conversation_id,))
        archive.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))
        for message_id, message in messages.items():
            archive.execute(
                "UPDATE messages SET conversation_id = ? WHERE id = ?",
                (conversation_of(archive, message), message_id),
            )
            write_references(archive, message_id, message.references)


def _names_in(message: ParsedMessage) -> set[str]:
    return {name for name in (message.rfc822_message_id, message.in_reply_to, *message.references) if name}


def _is_one(names: Collection[set[str]]) -> bool:
    """Whether messages that say these names all belong together."""
    of: dict[str, list[set[str]]] = defaultdict(list)
    for said in names:
        for name in said:
            of[name].append(said)
    left = list(names)[:1]
    reached: set[str] = set()
    while left:
        for name in left.pop() - reached:
            reached.add(name)
            left += of[name]
    return all(said & reached for said in names) or len(names) <= 1
