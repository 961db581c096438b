"""Reads the SQL of `schema/`: packaged data if present (a wheel), else the folder beside the package (a checkout)."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGE_DIR = Path(__file__).resolve().parent.parent
FIRST_VERSION: Final = 100
"""Of the first release's numbering. Archives with a lower one were made before it, by development versions."""
_VARIABLE: Final = "VAULTEMBED_SCHEMA"
_DIRECTIVE: Final = r"^-- {}: (.*(?:\n--   .*)*)"


def schema_dir(package_dir: Path = PACKAGE_DIR) -> Path:
    """Where the SQL lies for the package installed in `package_dir`. Another folder by $VAULTEMBED_SCHEMA: so the tests
    are a later vaultembed, with a migration more."""
    if given := os.environ.get(_VARIABLE):
        return Path(given)
    packaged = package_dir / "_schema"
    return packaged if packaged.is_dir() else package_dir.parent / "schema"


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    up: str
    down: str
    checksum: str
    """SHA-256 of the way up; recorded when it is applied."""

    @property
    def loses(self) -> str:
        """A query for what there is that the way down loses, in phrases; "" where it loses nothing."""
        return self._directive("loses")

    @property
    def drops(self) -> str:
        """A query for the names of tables that came to be in use, and that the way down drops first; "" for none."""
        return self._directive("drops")

    def _directive(self, name: str) -> str:
        found = re.search(_DIRECTIVE.format(name), self.down, re.MULTILINE)
        return found[1].replace("\n--", "\n") if found else ""


def read_migrations() -> tuple[Migration, ...]:
    """All migrations, in order."""
    return _read(os.environ.get(_VARIABLE))


def latest_version(migrations: Sequence[Migration] | None = None) -> int:
    """That the migrations lead to; by default, of this vaultembed."""
    known = read_migrations() if migrations is None else migrations
    return known[-1].version if known else 0


def up_to(version: int, migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    return tuple(migration for migration in migrations if migration.version <= version)


@functools.cache
def _read(_given: str | None) -> tuple[Migration, ...]:
    """Read once: they are asked for at every opening of an archive, and a server opens one for every call."""
    directory = schema_dir()
    found = []
    for up_file in sorted(directory.glob("[0-9]*.up.sql")):
        version, _, name = up_file.name.removesuffix(".up.sql").partition("_")
        up = up_file.read_text("utf-8")
        down = up_file.with_name(f"{version}_{name}.down.sql").read_text("utf-8")
        found.append(Migration(int(version), name, up, down, hashlib.sha256(up.encode()).hexdigest()))
    if not found or [m.version for m in found] != list(range(FIRST_VERSION, FIRST_VERSION + len(found))):
        raise FileNotFoundError(f"the schema in {directory} is incomplete; reinstall vaultembed")
    return tuple(found)


def vec_table_sql(generation_id: int, dimension: int) -> str:
    """The DDL of one generation's vec0 table."""
    template = (schema_dir() / "vec_generation.sql").read_text("utf-8")
    return template.format(generation_id=generation_id, dimension=dimension)
