"""What an archive holds in any text of any table is obeyed by no terminal and by no assistant."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from typer.testing import CliRunner

from tests.kit.embedded import embedded_archive
from vaultembed.cli.app import app
from vaultembed.serving.mcp.tools import Tools, make_tools
from vaultembed.serving.model_pool import KeptEmbedders
from vaultembed.serving.time_limited import Calls

STRANGE = "\x1b]0;owned\x07\x1b[8m\u202e\u200bzq\nzqline "
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u200b]")
COMMANDS = (
    ["stats"],
    ["search", "--mode", "text", "word0 text"],
    ["show", "1"],
    ["show", "2"],
    ["problems"],
    ["problems", "--kind", "zq"],
    ["delete", "--dry-run", "1", "2"],
    ["delete", "1"],
    ["undelete"],
    ["embeddings"],
    ["embeddings", "list"],
    ["embeddings", "failures"],
    ["embeddings", "verify", "--no-sample"],
    ["embeddings", "prune", "--dry-run"],
    ["embeddings", "activate", "1"],
    ["embeddings", "retire", "2"],
    ["embeddings", "build"],
    ["repair-encoding", "--dry-run"],
    ["repair-encoding", "--list"],
    ["doctor"],
    ["search", "--mode", "text", "type:nosuch"],
    ["search", "--mode", "text", "source:nosuch"],
    ["search", "--mode", "text", "label:nosuch"],
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = embedded_archive(tmp_path_factory.mktemp("strange") / "a.db", 3)
    db = apsw.Connection(str(path))
    for sql in (
        "INSERT INTO sources VALUES (1, 'mbox', '/mail/box', 0, 0)",
        "INSERT INTO source_files VALUES (1, 'box', 1, 1, x'', 1, 1)",
        'INSERT INTO message_recipients SELECT 1, value, 0, 1 FROM json_each(\'["to", "cc"]\')',
        "INSERT INTO labels VALUES (1, 'label', 'home')",
        "INSERT INTO message_labels VALUES (1, 1)",
        "INSERT INTO message_raw VALUES (1, 'zlib', x'789c030000000001')",
        "INSERT INTO applied_steps VALUES ('step', 0, 'detail')",
        "INSERT INTO message_texts VALUES (1, 'p1', 'word0 and some text')",
        "INSERT INTO generation_types VALUES (2, 'email')",
        "INSERT INTO attachments VALUES (1, 0, 'a.pdf', 'application/pdf', 5, x'00', 0)",
        "INSERT INTO reactions VALUES (1, 0, 'love', 1)",
        "INSERT INTO msgvault_messages VALUES (1, 'k', x'00', 1, NULL)",
        "INSERT INTO message_sources VALUES (1, 'k', 1, '/mail/box', 'Inbox', 'seen', NULL, '[]', '')",
        "INSERT INTO problems VALUES (1, 1, 1, '/mail/box', 'bad-date', 'x', 0, NULL)",
        "UPDATE embed_outcomes SET outcome = 'failed', reason = 'r' WHERE message_id = 1",
        "INSERT INTO embed_runs(generation_id, host, pid, started_at) VALUES (2, 'here', 5, 0)",
        "INSERT INTO embed_leases VALUES (1, 2, 1, 9, 'me', 1, 'here', 'boot', 5, '0', 1, 0, 0)",
        "INSERT INTO adopted_generations VALUES (1, '/their.db', 1, 'm', 'f', 0, 'active', NULL, 0.5, 0.5, 1)",
        "INSERT INTO repair_runs VALUES (1, 0, 0)",
        "INSERT INTO repairs VALUES (1, 1, 1, 'subject', '', x'41', 'b', 'm', 1, 0, NULL)",
        "UPDATE messages SET deleted_at = 5 WHERE id = 3",
    ):
        db.execute(sql)
    db.close()
    return path


def texts(path: Path) -> list[list[tuple[str, str]]]:
    """Of each table the columns that hold text; of all tables one at a time."""
    db = apsw.Connection(str(path))
    tables = [
        str(row[0])
        for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'")
        if not re.match("vec_|messages_fts|schema_migrations", str(row[0]))
    ]
    by_table = [
        [(table, str(row[1])) for row in db.execute(f"PRAGMA table_info({table})") if row[2] == "TEXT"]
        for table in tables
    ]
    db.close()
    return [[one for one in together if one is not None] for together in zip_longest(*by_table)]


def plant(path: Path, columns: list[tuple[str, str]]) -> None:
    """As a stranger's archive has it, whatever our own constraints and triggers say."""
    db = apsw.Connection(str(path))
    db.pragma("foreign_keys", False)
    db.pragma("ignore_check_constraints", True)
    triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    for table, column in columns:
        assert db.execute(f"SELECT 1 FROM {table}").fetchone(), f"nothing is in {table}"
        db.execute(f"UPDATE {table} SET {column} = ? || {column}", (STRANGE,))
    for _, sql in triggers:
        db.execute(str(sql))
    db.close()


def obeyed_by_terminals(path: Path) -> Iterator[str]:
    runner = CliRunner(env={"VAULTEMBED_ARCHIVE": str(path), "NO_COLOR": "1"})
    for arguments in COMMANDS:
        done = runner.invoke(app, arguments, color=True, prog_name="vaultembed")
        said = done.stdout + done.stderr
        typed = " ".join(arguments)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            yield f"{typed} raises {done.exception!r}"
        if OBEYED.search(said):
            yield f"{typed}: {said!r}"
        elif re.search("^zqline", said, re.MULTILINE) and arguments[0] != "show":
            yield f"{typed} is broken into lines: {said!r}"


def obeyed_by_assistants(path: Path) -> Iterator[str]:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("search_messages", {"query": "word0 text", "mode": "text", "explain": True}),
        ("search_messages", {"query": "word0 text", "mode": "vector"}),
        ("search_messages", {"query": "x", "mode": "text", "type": "nosuch"}),
        ("search_messages", {"query": "x", "mode": "text", "source": "nosuch"}),
        ("find_similar_messages", {"message_id": 2}),
        ("get_stats", {}),
        ("list_messages", {}),
        *(("aggregate", {"by": by}) for by in ("sender", "domain", "recipient", "label", "source", "type")),
        ("get_message", {"message_id": 1}),
        ("get_thread", {"message_id": 1}),
    ]

    async def ask() -> list[str]:
        calls = Calls(2)
        tools = {tool.name: tool for tool in make_tools(Tools(path, models), calls, calls)}
        wrong = []
        for name, arguments in asked:
            found: Any = await tools[name].run(arguments, None, convert_result=True)  # type: ignore[arg-type]
            content = found[0] if isinstance(found, tuple) else found.content
            answers = [json.loads(part.text) for part in content]
            if isinstance(found, tuple):
                answers.append(found[1])
            for text in (text for answer in answers for text in strings(answer)):
                is_fenced = text.startswith("<untrusted_mail_") and text.count("untrusted_mail_") == 2
                if OBEYED.search(text) or ("\n" in text and not is_fenced and "zq" in text):
                    wrong.append(f"{name} {arguments}: {text!r}")
        return wrong

    with closing(KeptEmbedders()) as models:
        yield from anyio.run(ask)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def check(whole: Path, folder: Path, rounds: list[list[tuple[str, str]]]) -> None:
    wrong = []
    for together in rounds:
        path = folder / "a.db"
        shutil.copy(whole, path)
        plant(path, together)
        names = ", ".join(".".join(one) for one in together)
        wrong += [f"{names}: {what}" for what in (*obeyed_by_terminals(path), *obeyed_by_assistants(path))]
        for companion in folder.glob("a.db*"):
            companion.unlink()
    assert not wrong, f"{len(wrong)} failures:\n" + "\n".join(wrong)


def test_strange_texts_in_all_that_decides_nothing_are_obeyed_nowhere(whole: Path, tmp_path: Path) -> None:
    decides = {"state", "outcome", "kind", "encoding", "space", "recipe", "preparation", "field", "message_type"}
    check(whole, tmp_path, [[one for together in texts(whole) for one in together if one[1] not in decides]])


@pytest.mark.slow
def test_a_strange_text_in_any_column_is_obeyed_nowhere(whole: Path, tmp_path: Path) -> None:
    check(whole, tmp_path, texts(whole))
