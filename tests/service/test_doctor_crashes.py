"""`doctor --fix` that is killed, or whose disk is full, while it takes out what is not ours: a second run finishes."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import apsw
import pytest

from tests.kit.archives import check_invariants
from tests.kit.embedded import content, embedded_archive
from tests.kit.faulty_vfs import run_faulty
from tests.kit.processes import vaultembed
from tests.kit.scale import scaled
from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.schema_files import read_migrations
from vaultembed.archive.trust import differences

pytestmark = pytest.mark.slow

STRANGE = """
CREATE TABLE evil(a, b);
CREATE INDEX evil_a ON evil(a);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
    INSERT INTO evil SELECT i, zeroblob(300) FROM n;
CREATE VIRTUAL TABLE evil_text USING fts5(x);
CREATE VIEW evil_view AS SELECT * FROM messages;
CREATE INDEX evil_subject ON messages(subject);
CREATE TRIGGER evil_gone AFTER DELETE ON evil BEGIN DELETE FROM messages; END;
CREATE TRIGGER evil_update AFTER UPDATE ON messages BEGIN DELETE FROM message_raw; DELETE FROM messages; END;
ALTER TABLE messages ADD COLUMN mine TEXT;
DROP TRIGGER label_in_use;
DROP INDEX message_labels_by_label;
"""
REPAIRED = 4
"""Only a model of this name is not here."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = embedded_archive(tmp_path_factory.mktemp("base") / "a.db", 12)
    db = apsw.Connection(str(path))
    db.execute(STRANGE)
    db.close()
    return path


def is_repaired_after(base: Path, folder: Path, mode: str, exit_code: int) -> bool:
    """Whether the repair came to its end on a disk that fails so; what it left is repaired by another."""
    path = Path(shutil.copy(base, folder / f"{mode.replace(':', '-')}.db"))
    first = run_faulty(mode, "doctor", "--fix", archive=path)
    assert first.returncode in (exit_code, REPAIRED), (mode, first.stderr)
    second = vaultembed("doctor", "--fix", archive=path)
    assert second.returncode == REPAIRED, (mode, second.stdout + second.stderr)
    with open_archive_readonly(path) as archive:
        assert differences(archive.db, read_migrations()) == []
        found = content(archive)
    with open_archive_readonly(base.with_name("sound.db")) as archive:
        assert found == content(archive)
    check_invariants(path)
    path.unlink()
    return first.returncode == REPAIRED


@pytest.fixture(scope="module", autouse=True)
def sound(base: Path) -> None:
    """The same archive before it was tampered with."""
    embedded_archive(base.with_name("sound.db"), 12)


def test_a_repair_that_is_killed_at_any_write_is_finished_by_another(base: Path, tmp_path: Path) -> None:
    for number in range(1, 10_000, max(1, 9 // scaled(1))):
        if is_repaired_after(base, tmp_path, f"kill:any:{number}", -signal.SIGKILL):
            break
    assert number > 50


def test_a_repair_whose_disk_is_full_is_finished_once_there_is_room(base: Path, tmp_path: Path) -> None:
    for room in range(0, 10_000_000, 60_000 // scaled(1)):
        if is_repaired_after(base, tmp_path, f"full:{room}", 74):
            break
    assert room > 100_000
