"""What was read from where: sources, their files, and the places where messages stand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import FORGOTTEN, forgotten, text_of
from vaultembed.archive.mail.labels import add_labels, remove_labels
from vaultembed.message import FileState
from vaultembed.text.mime.mime import READER_VERSION
from vaultembed.text.set_aside import Aside, set_aside

NOT_TO_ITS_END: Final = -1
"""In place of the size of a file that has not been read whole."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a source a message stands."""

    source_key: str
    locator: str
    folder: str
    flags: str
    labels: tuple[str, ...] | None = None
    """That this copy bears; None where they were not read, and are what they were."""


def source_id_of(archive: Archive, kind: str, identifier: str) -> int:
    """The source's row, made if new."""
    archive.execute(
        "INSERT INTO sources(kind, identifier, added_at) VALUES (?, ?, unixepoch()) ON CONFLICT DO NOTHING",
        (kind, identifier),
    )
    return int(archive.scalar("SELECT id FROM sources WHERE kind = ? AND identifier = ?", (kind, identifier)))


def find_source(archive: Archive, kind: str, identifier: str) -> int | None:
    found: int | None = archive.scalar("SELECT id FROM sources WHERE kind = ? AND identifier = ?", (kind, identifier))
    return found


def read_state(archive: Archive, source_id: int, path: str) -> FileState | None:
    found = archive.row(
        # a file whose message was deleted for ever is not read again for a newer reader
        "SELECT size, mtime_ns, prefix_hash, read_to, reader >= ?3 OR path <> ?2 FROM source_files"
        " WHERE source_id = ?1 AND path IN (?2, forgotten(CAST(?2 AS BLOB))) ORDER BY path <> ?2 LIMIT 1",
        (source_id, path, READER_VERSION),
    )
    if found is None:
        return None
    size, mtime_ns, prefix_hash, offset, is_current = found
    return FileState(size, mtime_ns, prefix_hash, offset, bool(is_current))


def set_read_state(archive: Archive, source_id: int, path: str, state: FileState) -> None:
    archive.execute(
        "INSERT INTO source_files VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET size = excluded.size,"
        " mtime_ns = excluded.mtime_ns, prefix_hash = excluded.prefix_hash, read_to = excluded.read_to,"
        " reader = excluded.reader",
        (source_id, path, state.size, state.mtime_ns, state.prefix_hash, state.offset, READER_VERSION),
    )


def message_at(archive: Archive, source_id: int, source_key: str) -> int | None:
    """The message that stands at a key of a source."""
    found: int | None = archive.scalar(
        "SELECT message_id FROM message_sources WHERE source_id = ? AND source_key = ?",
        (source_id, source_key),
    )
    return found


def first_place(archive: Archive, message_id: int) -> tuple[int | None, str]:
    """Source and locator of one place where a message stands, or stood."""
    found = archive.row(
        f"SELECT source_id, {text_of('locator')} FROM message_sources WHERE message_id = ?"
        " ORDER BY gone_at IS NOT NULL, source_id, source_key LIMIT 1",
        (message_id,),
    )
    return (None, f"message {message_id}") if found is None else (found[0], found[1])


def stands_alone(archive: Archive, message_id: int) -> bool:
    """True if a message stands in one place only."""
    places = archive.rows("SELECT 1 FROM message_sources WHERE message_id = ? LIMIT 2", (message_id,))
    return len(places) == 1


def is_live(archive: Archive, message_id: int) -> bool:
    return archive.scalar("SELECT 1 FROM messages WHERE id = ? AND deleted_at IS NULL", (message_id,)) is not None


def message_id_header(archive: Archive, message_id: int) -> str | None:
    """A message's Message-ID, without brackets."""
    found: str | None = archive.scalar("SELECT rfc822_message_id FROM messages WHERE id = ?", (message_id,))
    return found


def displace(archive: Archive, source_id: int, source_key: str) -> None:
    """Another message stands at this key now. The one before keeps its place on record, as gone."""
    archive.execute(
        "UPDATE OR REPLACE message_sources SET source_key = source_key || ' (was message ' || message_id || ')',"
        " gone_at = unixepoch() WHERE source_id = ? AND source_key = ?",
        (source_id, source_key),
    )


def supersede(archive: Archive, source_id: int, source_key: str, message_id: int) -> None:
    """What stood at this key was the beginning of a message, read before the rest of it was written, and the whole is
    another message here: where the beginning stands nowhere else it is deleted, as with a source."""
    displace(archive, source_id, source_key)
    delete_beginning(archive, source_id, f"{source_key} (was message {message_id})", message_id)


def delete_beginning(archive: Archive, source_id: int, source_key: str, message_id: int) -> None:
    delete_with_source(archive, source_id, source_key, message_id, int(time.time()))


def gone_beside_namesakes(archive: Archive, source_id: int, since: int) -> list[tuple[str, int, int]]:
    """Places that are gone since then, with their message, which stands nowhere else, and other live ones of the same
    Message-ID: the newest few, for some programs give one to all of their mail."""
    return archive.rows(
        "SELECT x.source_key, m.id, n.id FROM message_sources x JOIN messages m ON m.id = x.message_id"
        " JOIN messages n ON n.id IN (SELECT id FROM messages WHERE rfc822_message_id = m.rfc822_message_id"
        " ORDER BY id DESC LIMIT 4)"
        " WHERE x.source_id = ? AND x.gone_at >= ? AND m.deleted_at IS NULL AND n.deleted_at IS NULL AND n.id <> m.id"
        " AND NOT EXISTS (SELECT 1 FROM message_sources WHERE message_id = m.id AND gone_at IS NULL)",
        (source_id, since),
    )


def forget_place(archive: Archive, source_id: int, source_key: str) -> None:
    archive.execute("DELETE FROM message_sources WHERE source_id = ? AND source_key = ?", (source_id, source_key))


def put_at(archive: Archive, source_id: int, place: Place, message_id: int) -> None:
    """Let a message stand at a place; the place is there (again). Labels that it bore there and does not bear any more
    come off it, unless it bears them elsewhere."""
    before = archive.scalar(
        "SELECT labels FROM message_sources WHERE source_id = ? AND source_key = ? AND message_id = ?",
        (source_id, place.source_key, message_id),
    )
    bore = tuple(json.loads(before or "[]"))
    labels = bore if place.labels is None else place.labels
    archive.execute(
        "INSERT INTO message_sources VALUES (?, ?, ?, ?, ?, ?, NULL, ?, ?) ON CONFLICT DO UPDATE SET"
        " message_id = excluded.message_id, locator = excluded.locator, folder = excluded.folder,"
        " flags = excluded.flags, gone_at = NULL, labels = excluded.labels, set_aside = excluded.set_aside",
        (
            *(source_id, place.source_key, message_id, place.locator, place.folder, place.flags),
            json.dumps(labels, ensure_ascii=False),
            _said_of(archive, source_id, replace(place, labels=labels)),
        ),
    )
    if bore != labels:
        remove_labels(archive, message_id, set(bore) - set(labels))
        add_labels(archive, message_id, "label", labels)
    if place.folder:
        add_labels(archive, message_id, "folder", [place.folder])


def _said_of(archive: Archive, source_id: int, place: Place) -> Aside:
    """Whether a place is in a trash or among spam: also where that was imported by its own name."""
    identifier = str(archive.scalar("SELECT identifier FROM sources WHERE id = ?", (source_id,)))
    name = identifier.rpartition("/")[2]
    root = "" if name.lower().endswith(".eml") else name.removeprefix(".").partition(".mb")[0]
    return set_aside(f"{root}/{place.folder}", place.labels or (), place.flags.split())


def is_aside_beside_kept(archive: Archive, source_id: int, place: Place) -> bool:
    """Whether a place is in a trash or among spam, and the same place on record is not."""
    sql = "SELECT 1 FROM message_sources WHERE source_id = ? AND source_key = ? AND gone_at IS NULL AND set_aside = ''"
    is_kept = archive.scalar(sql, (source_id, place.source_key)) is not None
    return is_kept and _said_of(archive, source_id, place) != ""


def place_differs(archive: Archive, source_id: int, place: Place) -> bool:
    """True if a place is recorded with other flags or another locator, or as gone."""
    row = archive.row(
        "SELECT locator, folder, flags, gone_at FROM message_sources WHERE source_id = ? AND source_key = ?",
        (source_id, place.source_key),
    )
    return row is not None and row != (place.locator, place.folder, place.flags, None)


def count_in_file(archive: Archive, source_id: int, path: str) -> int:
    """Messages that stand in one mbox file, whose keys are "path:hash"."""
    # ";" follows ":" in ASCII: a range, where LIKE would need escaping and a scan
    return int(
        archive.scalar(
            "SELECT count(*) FROM message_sources WHERE source_id = ? AND source_key >= ? AND source_key < ?"
            " AND gone_at IS NULL",
            (source_id, path + ":", path + ";"),
        )
    )


def last_in_file(archive: Archive, source_id: int, path: str) -> tuple[str, int] | None:
    """Key and offset of the last message that stands in one mbox file."""
    return max(_in_file(archive, source_id, path), key=lambda at: at[1], default=None)


def _in_file(archive: Archive, source_id: int, path: str) -> Iterator[tuple[str, int]]:
    for key, locator in archive.rows(
        "SELECT source_key, locator FROM message_sources WHERE source_id = ? AND source_key >= ?"
        " AND source_key < ? AND gone_at IS NULL",
        (source_id, path + ":", path + ";"),
    ):
        yield key, int(locator.rpartition("@")[2])


class Sighting:
    """Notes what an import sees, to find at its end what is gone. In temporary tables: it may be millions."""

    def __init__(self, archive: Archive, identifier: str) -> None:
        self._archive = archive
        archive.execute("DROP TABLE IF EXISTS temp.known_files")
        # as it is now: what another import adds meanwhile is none of this one's business
        archive.execute(
            "CREATE TEMP TABLE known_files AS SELECT f.source_id, f.path, f.reader < ? AS is_outdated"
            " FROM source_files f JOIN sources s ON s.id = f.source_id WHERE s.identifier = ?",
            (READER_VERSION, identifier),
        )
        for table in ("seen_files", "seen_keys", "seen_unread"):
            archive.execute(
                f"CREATE TEMP TABLE IF NOT EXISTS {table}(source_id INTEGER, name TEXT, PRIMARY KEY(source_id, name))"
                " WITHOUT ROWID"
            )
            archive.execute(f"DELETE FROM {table}")

    def saw_file(self, source_id: int, path: str) -> None:
        self._archive.execute("INSERT INTO seen_files VALUES (?, ?) ON CONFLICT DO NOTHING", (source_id, path))

    def saw_key(self, source_id: int, source_key: str) -> bool:
        """False where this import has seen the key before: the same message stands in an mbox twice."""
        changed = self._archive.execute(
            "INSERT INTO seen_keys VALUES (?, ?) ON CONFLICT DO NOTHING", (source_id, source_key)
        )
        return changed > 0

    def saw_unread(self, locator: str) -> None:
        self._archive.execute("INSERT INTO seen_unread VALUES (0, ?) ON CONFLICT DO NOTHING", (locator,))

    def forget_unread_in_mbox(self, source_id: int, locator: str) -> None:
        """After an mbox was read whole: what could not be read of it before, and was not met again."""
        self._archive.execute(
            "DELETE FROM problems WHERE source_id = ?1 AND message_id IS NULL AND locator >= ?2 || '@'"
            " AND locator < ?2 || 'A' AND locator NOT IN (SELECT name FROM seen_unread)",
            (source_id, locator),
        )

    def forget_unread(self, root: str, kind: str, is_there: Callable[[str], bool]) -> None:
        """After a path was walked whole: what could not be read there before, and was not met again. An mbox that did
        not change was not looked into."""
        for each, locator, is_in_mbox in self._archive.rows(
            "SELECT p.id, p.locator, coalesce(s.kind = 'mbox' AND p.locator GLOB '*@[0-9]*', 0)"
            " FROM problems p LEFT JOIN sources s ON s.id = p.source_id"
            " WHERE p.message_id IS NULL AND p.kind = ?2 AND (p.locator = ?1"
            " OR substr(p.locator, 1, length(?1) + 1) IN (?1 || '/', ?1 || '@'))"
            " AND p.locator NOT IN (SELECT name FROM seen_unread)",
            (root, kind),
        ):
            if not is_in_mbox or not is_there(locator.rpartition("@")[0]):
                self._archive.execute("DELETE FROM problems WHERE id = ?", (each,))

    def mark_gone_keys(self, source_id: int, path: str) -> int:
        """After an mbox was read whole: what stood in it and was not seen is gone."""
        return self._archive.execute(
            "UPDATE message_sources SET gone_at = unixepoch() WHERE source_id = ?1 AND source_key >= ?2 || ':'"
            " AND source_key < ?2 || ';' AND gone_at IS NULL"
            " AND source_key NOT IN (SELECT name FROM seen_keys WHERE source_id = ?1)",
            (source_id, path),
        )

    def note_places(self, source_id: int, path: str) -> None:
        """What stands where in an mbox, before it is read again with a newer reader."""
        self._archive.execute(
            "CREATE TEMP TABLE IF NOT EXISTS stood(position INTEGER PRIMARY KEY, source_key TEXT NOT NULL)"
        )
        self._archive.execute("DELETE FROM stood")
        self._archive.execute_many(
            "INSERT INTO stood VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(at, key) for key, at in _in_file(self._archive, source_id, path)],
        )

    def is_forgotten(self, source_id: int, locator: str) -> bool:
        """Whether a message that is not here was, where `note_places` was called: it was deleted for ever. Else it is
        part of what stood there and is not met again, or could not be read before."""
        position = int(locator.rpartition("@")[2])
        sql = "SELECT source_key FROM temp.stood WHERE position <= ? ORDER BY position DESC LIMIT 1"
        stood = self._archive.scalar(sql, (position,))
        is_met = self._archive.scalar("SELECT 1 FROM seen_keys WHERE source_id = ? AND name = ?", (source_id, stood))
        unread = self._archive.scalar("SELECT 1 FROM problems WHERE locator = ? AND message_id IS NULL", (locator,))
        return (stood is None or is_met is not None) and unread is None

    def delete_misread_keys(self, source_id: int, path: str) -> int:
        """After an mbox was read again with a newer reader: what stood in it and was not seen never was a message. It
        is deleted, as with a source; its parts, or the whole, are here."""
        misread = self._archive.rows(
            "SELECT source_key, message_id FROM message_sources WHERE source_id = ?1 AND source_key >= ?2 || ':'"
            " AND source_key < ?2 || ';' AND gone_at IS NULL"
            " AND source_key NOT IN (SELECT name FROM seen_keys WHERE source_id = ?1)"
            " AND locator NOT IN (SELECT name FROM seen_unread)",
            (source_id, path),
        )
        for key, message_id in misread:
            delete_beginning(self._archive, source_id, key, message_id)
        return len(misread)

    def mark_gone_files(self, source_id: int) -> int:
        """After a source was walked whole: messages of files not seen are gone; they stay in the archive."""
        gone = 0
        for path, is_of_other_kind in self._archive.rows(
            "SELECT path, is_outdated AND path IN (SELECT name FROM seen_files) FROM temp.known_files"
            " WHERE source_id = ?1 AND path NOT IN (SELECT name FROM seen_files WHERE source_id = ?1)"
            f" AND (path NOT GLOB '{FORGOTTEN}*'"
            " OR path NOT IN (SELECT forgotten(CAST(name AS BLOB)) FROM seen_files WHERE source_id = ?1))",
            (source_id,),
        ):
            # one by one: an OR of both conditions is planned as a walk over the whole source
            for condition in ("source_key = ?2", "source_key >= ?2 || ':' AND source_key < ?2 || ';'"):
                if is_of_other_kind:  # a newer reader takes it for an mbox, say, that was one message
                    for key, message_id in self._archive.rows(
                        "SELECT source_key, message_id FROM message_sources WHERE source_id = ?1 AND gone_at IS NULL"
                        f" AND {condition}",
                        (source_id, path),
                    ):
                        delete_beginning(self._archive, source_id, key, message_id)
                gone += self._archive.execute(
                    "UPDATE message_sources SET gone_at = unixepoch() WHERE source_id = ?1 AND gone_at IS NULL"
                    f" AND {condition}",
                    (source_id, path),
                )
            self._archive.execute("DELETE FROM source_files WHERE source_id = ? AND path = ?", (source_id, path))
        return gone


def sources_at(archive: Archive, identifier: str) -> list[int]:
    """The sources, of whatever kind, of an imported path."""
    return [row[0] for row in archive.rows("SELECT id FROM sources WHERE identifier = ?", (identifier,))]


def remove_source_of_one_file(archive: Archive, source_id: int) -> None:
    """A message's file that was imported by its own name, where no message stands in it any more. A folder stays: its
    files are not to be read again."""
    found = archive.row(
        "SELECT identifier FROM sources s WHERE id = ? AND kind = 'eml'"
        " AND NOT EXISTS (SELECT 1 FROM message_sources WHERE source_id = s.id)"
        " AND NOT EXISTS (SELECT 1 FROM generation_sources WHERE source_id = s.id)",
        (source_id,),
    )
    files = archive.rows("SELECT path FROM source_files WHERE source_id = ?", (source_id,))
    if found is not None and files == [(forgotten(str(found[0]).rpartition("/")[2].encode()),)]:
        archive.execute("DELETE FROM sources WHERE id = ?", (source_id,))


def import_finished(archive: Archive, source_id: int) -> None:
    archive.execute("UPDATE sources SET last_import_at = unixepoch() WHERE id = ?", (source_id,))


@dataclass(frozen=True, slots=True)
class Known:
    """A message of a msgvault archive as it was when last read."""

    message_id: int
    digest: bytes
    content_rev: int
    """That the message had then."""
    gone_at: int | None


def known_messages(archive: Archive, source_id: int, source_keys: Sequence[str]) -> dict[str, Known]:
    """By key, those of a source that were read before."""
    return {
        row[0]: Known(*row[1:])
        for row in archive.rows(
            "SELECT k.source_key, x.message_id, k.digest, k.content_rev, x.gone_at FROM msgvault_messages k"
            " JOIN message_sources x ON x.source_id = k.source_id AND x.source_key = k.source_key"
            " WHERE k.source_id = ? AND k.source_key IN (SELECT value FROM json_each(?)) AND k.digest <> x''",
            (source_id, json.dumps(list(source_keys))),
        )
    }


def other_digests(archive: Archive, source_id: int, source_key: str, message_id: int) -> list[bytes]:
    """Of a message, as it was last read elsewhere in msgvault archives."""
    found = archive.rows(
        "SELECT k.digest FROM message_sources x JOIN msgvault_messages k ON k.source_id = x.source_id"
        " AND k.source_key = x.source_key WHERE x.message_id = ? AND (x.source_id, x.source_key) <> (?, ?)"
        " AND k.digest <> x''",
        (message_id, source_id, source_key),
    )
    return [row[0] for row in found]


def remember(
    archive: Archive, source_id: int, source_key: str, digest: bytes, content_rev: int, reply_to: str | None
) -> None:
    """Note how a message of a msgvault archive looked when it was read. `content_rev`: of the message here, with the
    text that it has from there. `reply_to`: key of the message that it answers."""
    archive.execute(
        "INSERT INTO msgvault_messages VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest,"
        " content_rev = excluded.content_rev, reply_to = excluded.reply_to",
        (source_id, source_key, digest, content_rev, reply_to),
    )


def sources_below(archive: Archive, kind: str, prefix: str) -> list[int]:
    """Sources of a kind whose identifier begins so."""
    return [
        row[0]
        for row in archive.rows(
            "SELECT id FROM sources WHERE kind = ? AND substr(identifier, 1, length(?2)) = ?2 ORDER BY id",
            (kind, prefix),
        )
    ]


def keys_present(archive: Archive, source_id: int, after: str, limit: int) -> list[str]:
    """Keys of a source that are not gone, above `after`, in their order."""
    return [
        row[0]
        for row in archive.rows(
            "SELECT source_key FROM message_sources WHERE source_id = ? AND source_key > ? AND gone_at IS NULL"
            " ORDER BY source_key LIMIT ?",
            (source_id, after, limit),
        )
    ]


def mark_gone(archive: Archive, source_id: int, source_keys: Iterable[str]) -> None:
    """These are no longer in the source; their messages stay."""
    archive.execute_many(
        "UPDATE message_sources SET gone_at = unixepoch() WHERE source_id = ? AND source_key = ?",
        [(source_id, key) for key in source_keys],
    )
    archive.execute_many(
        "UPDATE msgvault_messages SET digest = x'' WHERE source_id = ? AND source_key = ?",
        [(source_id, key) for key in source_keys],
    )


def delete_with_source(
    archive: Archive, source_id: int, source_key: str, message_id: int, at: int, *, is_news: bool = True
) -> bool:
    """A message was deleted where it stands: there it is gone; and if it stands nowhere else, it is deleted here.

    The two bear the same time: that tells this deletion from a person's, which no import undoes. Not `is_news`: it was
    told before, and if a person has brought the message back since, it stays.
    """
    archive.execute(
        "UPDATE message_sources SET gone_at = ? WHERE source_id = ? AND source_key = ?", (at, source_id, source_key)
    )
    if not is_news:
        return False
    changed = archive.execute(
        "UPDATE messages SET deleted_at = ?1 WHERE id = ?2 AND deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM"
        " message_sources x WHERE x.message_id = ?2 AND x.gone_at IS NULL)",
        (at, message_id),
    )
    return changed > 0


def is_deleted_by_person(archive: Archive, message_id: int) -> bool:
    """And not with a source."""
    return (
        archive.scalar(
            "SELECT 1 FROM messages m WHERE id = ? AND deleted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM"
            " message_sources x WHERE x.message_id = m.id AND x.gone_at = m.deleted_at)",
            (message_id,),
        )
        is not None
    )


def undelete_with_source(archive: Archive, message_id: int) -> bool:
    """A message stands somewhere (again) that was deleted only because a source deleted it; True if it was so."""
    changed = archive.execute(
        "UPDATE messages SET deleted_at = NULL WHERE id = ?1 AND deleted_at IS NOT NULL AND EXISTS (SELECT 1 FROM"
        " message_sources x WHERE x.message_id = ?1 AND x.gone_at = messages.deleted_at)",
        (message_id,),
    )
    return changed > 0
