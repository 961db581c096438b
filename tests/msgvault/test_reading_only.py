"""Msgvault's files are read and never touched: beside a msgvault that runs, and where nothing can be written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from tests.kit.archives import check_invariants
from tests.kit.msgvault import ACTIVE, SHAPES, Embed, Pair, Shape, mail, write_pair
from tests.msgvault.cast import CAST
from vaultembed.archive.database import open_archive_readonly
from vaultembed.errors import BusyError, StorageError
from vaultembed.failpoints import action_at
from vaultembed.msgvault.files import find_archive, open_foreign, open_pair
from vaultembed.service.import_plan import plan_import
from vaultembed.service.importing import import_mail

Cast = Callable[..., Pair]


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("wal", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_written_and_nothing_is_left_beside(cast_of: Cast, archive: Path, shape: Shape, wal: bool) -> None:
    pair = cast_of(shape, wal=wal, model="nomic-embed-text")
    before = everything(pair.folder)
    plan_import(archive, [pair.folder])
    import_mail(archive, [pair.folder])
    import_mail(archive, [pair.archive])
    assert everything(pair.folder) == before


@pytest.fixture
def medium(tmp_path: Path) -> Iterator[Path]:
    """A file system that becomes read-only with `mount -o remount,ro`."""
    path = tmp_path / "medium"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_from_a_medium_that_cannot_be_written(cast_of: Cast, archive: Path, medium: Path) -> None:
    pair = cast_of("v2", model="nomic-embed-text").copy(medium / "mv")
    subprocess.run(["mount", "-o", "remount,ro", str(medium)], check=True)
    done = import_mail(archive, [pair.folder])
    assert (done.exit_code, done.data.counts.added) == (0, len(CAST))
    assert done.data.msgvault[0].generations[0].embedded > 0


def test_what_only_its_log_has_cannot_be_read_there_and_is_not_passed_over(
    tmp_path: Path, embed: Embed, archive: Path, medium: Path
) -> None:
    mails = [mail(n, f"Subject {n}", f"Text number {n}") for n in range(1, 4)]
    pair = write_pair(tmp_path / "mv", "v2", mails, embed, vectors=False)
    running = apsw.Connection(str(pair.archive))
    running.execute("UPDATE messages SET subject = 'In the log' WHERE id = 1")
    (medium / "mv").mkdir()
    for name in ("msgvault.db", "msgvault.db-wal"):
        shutil.copy(pair.folder / name, medium / "mv" / name)
    running.close()
    subprocess.run(["mount", "-o", "remount,ro", str(medium)], check=True)
    with pytest.raises(StorageError, match="cannot be read") as refused:
        import_mail(archive, [medium / "mv"])
    assert "copy all of them to another folder" in (refused.value.hint or "")


def test_beside_a_msgvault_that_runs(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """What it has committed is seen, what it has not is not, and it is not held up."""
    mails = [mail(n, f"Subject {n}", f"Text number {n}") for n in range(1, 6)]
    pair = write_pair(tmp_path / "mv", "v2", mails, embed, model="nomic-embed-text")
    running = apsw.Connection(str(pair.archive))
    running.pragma("wal_autocheckpoint", 0)
    running.execute("UPDATE messages SET subject = 'In the log' WHERE id = 5")
    running.execute("UPDATE message_raw SET raw_data = x'00' WHERE message_id = 5")
    running.execute("BEGIN IMMEDIATE")
    running.execute("UPDATE messages SET deleted_at = '2025-01-01 00:00:00' WHERE id = 1")
    assert pair.archive.with_name("msgvault.db-wal").stat().st_size > 0

    def write_meanwhile() -> None:
        running.execute("UPDATE messages SET deleted_at = '2025-01-01 00:00:00' WHERE id = 2")

    with action_at("import.in_transaction", write_meanwhile):
        done = import_mail(archive, [pair.folder])
    running.execute("COMMIT")
    running.close()
    assert (done.exit_code, done.data.counts.added) == (0, 5)
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM messages WHERE deleted_at IS NOT NULL") == 0
        assert opened.scalar("SELECT count(*) FROM messages WHERE subject = 'In the log'") == 1
    check_invariants(archive)
    again = import_mail(archive, [pair.folder])
    assert again.data.msgvault[0].deleted == 2


def test_one_that_begins_to_run_while_it_is_read(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """It was opened as a file that nobody writes to: what is read then may be half of the old, half of the new."""
    mails = [mail(n, f"Subject {n}", f"Text number {n}") for n in range(1, 6)]
    pair = write_pair(tmp_path / "mv", "v2", mails, embed, model="nomic-embed-text")
    running = apsw.Connection(str(pair.archive))
    with open_foreign(pair.archive) as database:
        running.execute("UPDATE messages SET subject = 'changed' WHERE id = 1")
        with pytest.raises(BusyError, match="began to be written to"):
            database.check_unchanged()
    running.close()
    before = import_mail(archive, [pair.folder])
    assert before.exit_code == 0


def test_vectors_and_messages_are_of_one_moment(tmp_path: Path, embed: Embed) -> None:
    """Between the two snapshots a message was edited and embedded again: its new vector must not meet its old text, nor
    its old vector the new text."""
    mails = [mail(n, f"Subject {n}", f"Text number {n}") for n in range(1, 4)]
    pair = write_pair(tmp_path / "mv", "v2", mails, embed)
    messages, vectors = apsw.Connection(str(pair.archive)), apsw.Connection(str(pair.embeddings))
    messages.execute("SELECT count(*) FROM messages").fetchall()
    vectors.execute("SELECT count(*) FROM embeddings").fetchall()
    edits = []

    def edit() -> None:
        if len(edits) < 3:
            edits.append(1)
            messages.execute("UPDATE messages SET subject = subject || '!' WHERE id = 1")
            vectors.execute("UPDATE embeddings SET embedded_at = embedded_at + 1 WHERE message_id = 1")

    between = action_at("msgvault.between_snapshots", edit)
    with between, open_pair(pair.archive, pair.embeddings) as (of_messages, of_vectors):
        assert of_vectors is not None
        subject = of_messages.rows("SELECT subject FROM messages WHERE id = 1")[0][0]
        at = of_vectors.rows("SELECT embedded_at FROM embeddings WHERE message_id = 1 AND generation_id = ?", (ACTIVE,))
    assert (subject, at) == ("Subject 1!!!", [(1700000053,)])
    messages.close()
    vectors.close()


def test_it_is_known_by_its_content(cast_of: Cast, tmp_path: Path) -> None:
    pair = cast_of("v1").copy(tmp_path / "mv")
    assert find_archive(pair.folder) == pair.archive
    assert find_archive(pair.embeddings) is None
    renamed = pair.archive.rename(pair.folder / "mail of 2019.sqlite")
    assert find_archive(renamed) == renamed
    assert find_archive(pair.folder) == renamed
    assert find_archive(tmp_path) is None
    other = apsw.Connection(str(tmp_path / "other.db"))
    other.execute("CREATE TABLE messages(id)")
    other.close()
    assert find_archive(tmp_path / "other.db") is None


def test_an_archive_of_ours_is_none(cast_of: Cast, archive: Path) -> None:
    import_mail(archive, [cast_of("v2", vectors=False).folder])
    assert find_archive(archive) is None
