"""A later vaultembed: the present one with one migration more, as an upgrade will bring it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vaultembed.archive.schema_files import latest_version, schema_dir

UP = """
-- One row is a note on one message.
CREATE TABLE notes(
    message_id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    note       TEXT NOT NULL
);
INSERT INTO notes SELECT id, 'about ' || subject FROM messages;
ALTER TABLE sources ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
"""

DOWN = """-- loses: SELECT format('%,d notes', count(*)) FROM notes
--   HAVING count(*) > 0
-- drops: SELECT name FROM sqlite_schema
--   WHERE type = 'table' AND name GLOB 'notes_[0-9]'
ALTER TABLE sources DROP COLUMN display_name;
DROP TABLE notes;
"""


def upgrade(folder: Path, patch: pytest.MonkeyPatch) -> int:
    """From here on, this process and those that it starts are the later vaultembed; returns the version it knows."""
    version = latest_version() + 1
    schema = shutil.copytree(schema_dir(), folder / f"schema-{version}")
    (schema / f"{version:04}_notes.up.sql").write_text(UP)
    (schema / f"{version:04}_notes.down.sql").write_text(DOWN)
    patch.setenv("VAULTEMBED_SCHEMA", str(schema))
    return version
