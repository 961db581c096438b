"""The scope of a generation: which messages it is to cover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from vaultembed.archive.engine.connection import Archive
from vaultembed.errors import UsageError


@dataclass(frozen=True, slots=True)
class Scope:
    """All conditions must hold; an empty one always does."""

    after: int | None = None
    """Unix seconds: sent at that time or later."""
    before: int | None = None
    """Sent earlier."""
    sources: tuple[int, ...] = ()
    """Ids."""
    types: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """Readable part of a fingerprint: `after2020-01-01,source1+2`. "" is every message."""
        parts = []
        if self.after is not None:
            parts.append(f"after{_day(self.after)}")
        if self.before is not None:
            parts.append(f"before{_day(self.before)}")
        if self.sources:
            parts.append("source" + "+".join(map(str, sorted(self.sources))))
        if self.types:
            parts.append("type" + "+".join(sorted(self.types)))
        return ",".join(parts)


EVERYTHING = Scope()


def _day(seconds: int) -> str:
    found = datetime.fromtimestamp(seconds, UTC)
    return found.strftime("%Y-%m-%d" if seconds % 86400 == 0 else "%Y-%m-%dT%H:%M:%SZ")


def write_scope(archive: Archive, generation_id: int, scope: Scope) -> None:
    """Record the scope of a new generation and its members; triggers keep those from then on. In the caller's
    transaction."""
    for source_id in scope.sources:
        archive.execute("INSERT INTO generation_sources VALUES (?, ?)", (generation_id, source_id))
    for message_type in scope.types:
        archive.execute("INSERT INTO generation_types VALUES (?, ?)", (generation_id, message_type))
    if scope.tag:
        archive.execute(
            "INSERT INTO scope_members SELECT * FROM messages_in_scope WHERE generation_id = ? ON CONFLICT DO NOTHING",
            (generation_id,),
        )


def source_id_of_path(archive: Archive, name: str) -> list[int]:
    """Sources whose path is `name` or ends with it, or whose id it is. Of a msgvault archive, all of its accounts, or
    the one of that name.

    Raises:
        UsageError: none is.
    """
    rows = archive.rows("SELECT id, identifier, kind FROM sources ORDER BY id")
    trimmed = name.rstrip("/")
    found = [
        int(i)
        for i, path, kind in rows
        if str(i) == name
        or path == trimmed
        or path.endswith("/" + trimmed.removeprefix("./").lstrip("/"))
        or (kind == "msgvault" and _names_account(path, trimmed))
    ]
    if not found:
        known = ", ".join(f"{i} {path}" for i, path, _ in rows[:5])
        raise UsageError(f"there is no source {name}", f"Sources are: {known or 'none yet'}")
    return found


def _names_account(identifier: str, name: str) -> bool:
    """Whether `name` is that of a msgvault archive ("/home/ada/msgvault.db#gmail:ada" is one of its accounts), or of an
    account in it."""
    path, _, account = identifier.rpartition("#")
    is_archive = path == name or path.endswith("/" + name.removeprefix("./").lstrip("/"))
    return is_archive or name in (account, account.partition(":")[2])
