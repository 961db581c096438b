"""Reads the SQL of `schema/`: packaged data if present (a wheel), else the folder beside the package (a checkout)."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent.parent


def schema_dir(package_dir: Path = PACKAGE_DIR) -> Path:
    """Where the SQL lies for the package installed in `package_dir`."""
    packaged = package_dir / "_schema"
    return packaged if packaged.is_dir() else package_dir.parent / "schema"


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    up: str
    down: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the way up; what is recorded when it is applied."""
        return hashlib.sha256(self.up.encode()).hexdigest()


def read_migrations(directory: Path | None = None) -> tuple[Migration, ...]:
    """All migrations, in order."""
    return _own_migrations() if directory is None else _read(directory)


@functools.cache
def _own_migrations() -> tuple[Migration, ...]:
    """Read once: they are asked for at every opening of an archive, and a server opens one for every call."""
    return _read(schema_dir())


def _read(directory: Path) -> tuple[Migration, ...]:
    found = []
    for up in sorted(directory.glob("[0-9]*.up.sql")):
        version, _, name = up.name.removesuffix(".up.sql").partition("_")
        down = up.with_name(f"{version}_{name}.down.sql")
        found.append(Migration(int(version), name, up.read_text("utf-8"), down.read_text("utf-8")))
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise FileNotFoundError(f"the schema in {directory} is incomplete; reinstall vaultembed")
    return tuple(found)


def vec_table_sql(generation_id: int, dimension: int) -> str:
    """The DDL of one generation's vec0 table."""
    template = (schema_dir() / "vec_generation.sql").read_text("utf-8")
    return template.format(generation_id=generation_id, dimension=dimension)
