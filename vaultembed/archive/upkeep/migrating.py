"""Brings an archive to another version of the schema where a person asks for that. (To the latest, opening it for
writing brings it by itself.)"""

from __future__ import annotations

from vaultembed.archive.backup import Migrated, back_up_version, migrate_with_backup
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.migrations import lost_by_migrating_down, migrate_down, user_version
from vaultembed.archive.schema_files import read_migrations, up_to


def schema_version(archive: Archive) -> int:
    return user_version(archive.db)


def lost_below(archive: Archive, to_version: int) -> tuple[str, ...]:
    """What the archive holds and that schema has no place for, as phrases. Empty: nothing of worth."""
    return lost_by_migrating_down(archive.db, to_version, read_migrations())


def raise_schema(archive: Archive, to_version: int) -> Migrated | None:
    """After a copy of it as it was; None where another process has done it meanwhile.

    Raises:
        DiskFullError, DamageError: no copy could be made; nothing was changed.
    """
    return migrate_with_backup(archive.db, archive.path, up_to(to_version, read_migrations()))


def lower_schema(archive: Archive, to_version: int) -> Migrated | None:
    """As `raise_schema`, down. Loses what `lost_below` says: ask before calling."""
    made: list[Migrated] = []
    archive.load_vec()  # for the coarse indexes, which go with the tables of the generations
    migrate_down(
        archive.db,
        to_version,
        read_migrations(),
        lambda version: made.append(Migrated(version, back_up_version(archive.path, version))),
    )
    return made[0] if made else None
