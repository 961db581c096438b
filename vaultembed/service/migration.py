"""`migrate`: which schema the archive has, and bringing it to another, with a backup first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import open_older, open_older_readonly
from vaultembed.archive.schema_files import FIRST_VERSION, latest_version, read_migrations
from vaultembed.archive.upkeep.migrating import lost_below, lower_schema, raise_schema, schema_version
from vaultembed.errors import UsageError
from vaultembed.service.result import Result


@dataclass(frozen=True, slots=True)
class MigrationView:
    archive: Path
    from_version: int
    to_version: int
    latest: int
    """Of this vaultembed."""
    lost: tuple[str, ...]
    """What the way down loses; it is in the backup."""
    backup: Path | None
    """The archive as it was; None where nothing was to be done."""


def plan_migration(archive_path: Path, to_version: int | None = None) -> MigrationView:
    """What `migrate` would do; `to_version` None: the latest.

    Raises:
        UsageError: this vaultembed has no such version.
        VaultembedError: no archive, or a newer vaultembed wrote it.
    """
    migrations = read_migrations()
    latest = latest_version(migrations)
    to = latest if to_version is None else to_version
    if to != 0 and not FIRST_VERSION <= to <= latest:
        raise UsageError(
            f"there is no schema version {to}",
            f"This vaultembed knows versions {FIRST_VERSION} to {latest}, and 0: an empty file.",
        )
    with open_older_readonly(archive_path) as archive, archive.snapshot():
        version = schema_version(archive)
        lost = lost_below(archive, to)
    return MigrationView(archive_path, version, to, latest, lost, None)


def migrate(archive_path: Path, to_version: int | None = None) -> Result[MigrationView]:
    """Bring the archive to a schema version, up or down. Down loses what older versions have no place for: ask first.

    Raises: as `plan_migration`, and
        BusyError: another process is writing the archive.
        DiskFullError, DamageError: no backup could be made; nothing was changed.
    """
    plan = plan_migration(archive_path, to_version)
    made = None
    if plan.to_version != plan.from_version:
        with open_older(archive_path) as archive:
            move = raise_schema if plan.to_version > plan.from_version else lower_schema
            made = move(archive, plan.to_version)
    notes = []
    if plan.to_version < plan.latest:
        notes.append(
            f"This vaultembed brings it to version {plan.latest} again as soon as it writes to it. To use version"
            f" {plan.to_version}, install the vaultembed that made it."
        )
    view = MigrationView(
        archive=archive_path,
        from_version=made.from_version if made else plan.from_version,
        to_version=plan.to_version,
        latest=plan.latest,
        lost=plan.lost,
        backup=made.backup if made else None,
    )
    return Result("migrate", view, tuple(notes))
