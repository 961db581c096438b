"""Where another engine could stand: SQL is the archive's, and SQLite itself the engine's. What import-linter cannot see
of that: strings, and the connection inside an `Archive`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vaultembed

PACKAGE = Path(vaultembed.__file__).parent
SQL = re.compile(
    r"\bSELECT\b.*\bFROM\b|\bINSERT INTO\b|\bUPDATE \w+ SET\b|\bDELETE FROM\b|\b(CREATE|DROP|ALTER) (TEMP )?TABLE\b"
    r"|\bPRAGMA\b|\bWHERE\b|\bIS (NOT )?NULL\b|\bBEGIN IMMEDIATE\b|\b\w+\.\w+ (=|<|>|<=|>=|<>|IN|LIKE) [?(]",
    re.DOTALL,
)
OF_MSGVAULT = {
    f"msgvault/{name}.py" for name in ("files", "their_chats", "their_messages", "their_people", "their_vectors")
}
"""They read msgvault's own files, which are SQLite whatever keeps the archive."""
OF_SQLITE = {
    "archive/doctor/fixes.py",
    "archive/doctor/inspect.py",
    "archive/doctor/schema_fixes.py",
    "archive/horizon.py",
    "archive/doctor/stored.py",
    "archive/upkeep/copying.py",
    "archive/upkeep/erasing.py",
    "archive/upkeep/migrating.py",
    "archive/upkeep/restore.py",
    "archive/upkeep/shrinking.py",
}
"""Besides the engine: what has SQLite itself for its subject."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8"))


def sql_in(tree: ast.Module) -> list[str]:
    """Strings that are SQL, or a part of it; documentation is none."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in said
        and SQL.search(node.value)
    ]


def uses_connection(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "db" for node in ast.walk(tree))


def test_sql_stands_in_the_archive_alone() -> None:
    found = {name: sql_in(tree) for name, tree in modules() if not name.startswith("archive/")}
    assert {name for name, strings in found.items() if strings} == OF_MSGVAULT


@pytest.mark.parametrize(
    "source",
    [
        'archive.rows("SELECT id FROM messages")',
        'archive.execute(f"UPDATE {table} SET x = 1 WHERE id = ?", (1,))',
        'Filter("m.sent_at >= ?", (at,))',
        'archive.scalar("PRAGMA page_count")',
    ],
)
def test_sql_would_be_seen(source: str) -> None:
    assert sql_in(ast.parse(source))


def test_only_what_is_about_sqlite_reaches_through_to_its_connection() -> None:
    found = {name for name, tree in modules() if uses_connection(tree)}
    assert {name for name in found if not name.startswith("archive/engine/")} == OF_SQLITE
