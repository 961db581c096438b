"""Another program may write anything into any column: one odd row breaks nothing, and `doctor` names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest

from tests.kit.archives import add_parsed, new_archive, new_message
from tests.kit.embedded import embedded_archive
from tests.kit.mail import mail, mbox
from tests.kit.processes import vaultembed, vaultembed_json
from vaultembed.processes import this_process
from vaultembed.service.listing import list_messages
from vaultembed.service.result import iso
from vaultembed.serving.mcp.tools import Tools, make_tools
from vaultembed.serving.model_pool import KeptEmbedders
from vaultembed.serving.time_limited import Calls
from vaultembed.text.mime.dates import FIRST_SECOND, LAST_SECOND

TABLES = (
    "sources",
    "conversations",
    "participants",
    "messages",
    "message_bodies",
    "message_raw",
    "message_sources",
    "message_recipients",
    "labels",
    "attachments",
    "problems",
    "embed_runs",
    "embed_leases",
)
# one for each row of the column
ODD = (
    "'tomorrow'",
    "x'00ff'",
    "CAST(x'ff41' AS TEXT)",  # no UTF-8
    "1404468000000",  # milliseconds
    "-100000000000000000",
    "9223372036854775807",
    "1404468000.5",
    "1e999",
    "NULL",
    "''",
    "char(27) || '[2J'",
)
IDS = range(1, len(ODD) + 1)
READING = (
    ["stats"],
    ["search", "--mode", "text", "word0 word1 word3 text"],
    ["search", "--mode", "text", "after:2000 before:2040"],
    ["search", "--mode", "text", "from:ada to:ada label:home has:attachment source:box type:email"],
    ["problems"],
    ["delete", "--dry-run", *map(str, IDS)],
    ["undelete"],
    ["embeddings"],
    ["embeddings", "failures"],
    ["embeddings", "runs"],
    ["repair-encoding", "--dry-run"],
)
MAY_SAY = {"message_not_found", "message_not_embedded"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many messages as there are odd values, each with a row of its own in every table."""
    path = embedded_archive(tmp_path_factory.mktemp("odd") / "a.db", len(ODD), generations=1)
    db = apsw.Connection(str(path))
    here = this_process().host, this_process().boot_id
    for n in IDS:
        db.execute("INSERT INTO sources VALUES (?1, 'mbox', '/mail/box' || ?1, 0, 0)", (n,))
        db.execute(
            "INSERT OR REPLACE INTO participants VALUES (?1, 'ada' || ?1 || '@example.org', 'Ada', 'x.org')", (n,)
        )
        db.execute("UPDATE messages SET sender_id = ?1 WHERE id = ?1", (n,))
        db.execute("INSERT INTO message_recipients VALUES (?1, 'to', 0, ?1)", (n,))
        db.execute("INSERT INTO labels VALUES (?1, 'label', 'home' || ?1)", (n,))
        db.execute("INSERT INTO message_labels VALUES (?1, ?1)", (n,))
        db.execute("INSERT INTO attachments VALUES (?1, 0, 'a.pdf', 'application/pdf', 5, x'00', 0)", (n,))
        db.execute("INSERT INTO message_raw VALUES (?1, 'zlib', x'789c030000000001')", (n,))
        db.execute(
            "INSERT INTO message_sources VALUES (?1, 'k', ?1, '/mail/box', 'Inbox', 'seen', NULL, '[]', '')", (n,)
        )
        db.execute("INSERT INTO problems VALUES (?1, ?1, ?1, '/mail/box' || ?1, 'bad-date', 'x', 0, NULL)", (n,))
        db.execute(
            "INSERT INTO embed_runs(id, generation_id, host, pid, started_at) VALUES (?1, 1, 'here', 1, 5)", (n,)
        )
        db.execute(
            "INSERT INTO embed_leases VALUES (?1, 1, ?1, ?1, 'w' || ?1, ?1, ?2, ?3, 1, '1', 0, 5, 6)", (n, *here)
        )
    db.execute("UPDATE messages SET deleted_at = 5 WHERE id = 6")
    db.close()
    return path


def columns(path: Path) -> list[tuple[str, str]]:
    db = apsw.Connection(str(path))
    found = [(table, str(row[1])) for table in TABLES for row in db.execute(f"PRAGMA table_info({table})")]
    db.close()
    return found


@contextmanager
def lenient(path: Path) -> Iterator[apsw.Connection]:
    """Without what keeps odd values out: as in an archive from elsewhere, or one whose bits were flipped."""
    db = apsw.Connection(str(path))
    db.pragma("foreign_keys", False)
    db.pragma("ignore_check_constraints", True)
    db.pragma("writable_schema", True)
    tables = db.execute("SELECT sql, name FROM sqlite_schema WHERE sql LIKE '%) STRICT%'").fetchall()
    loose = "replace(replace(sql, ') STRICT, ', ') '), ') STRICT', ')')"
    db.execute(f"UPDATE sqlite_schema SET sql = {loose} WHERE sql LIKE '%) STRICT%'")
    db.pragma("writable_schema", "RESET")
    yield db
    db.pragma("writable_schema", True)
    db.executemany("UPDATE sqlite_schema SET sql = ? WHERE name = ?", tables)
    db.close()


def make_odd(path: Path, table: str, column: str) -> int:
    """Write each odd value to a row of its own; returns how many SQLite has taken."""
    with lenient(path) as db:
        return _make_odd(db, table, column)


def _make_odd(db: apsw.Connection, table: str, column: str) -> int:
    names = {str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")}
    key = "id" if "id" in names else "message_id"
    taken = 0
    for n, value in zip(IDS, ODD, strict=True):
        try:
            db.execute(f"UPDATE {table} SET {column} = {value} WHERE {key} = {n}")
            taken += db.changes()
        except (apsw.ConstraintError, apsw.MismatchError):
            pass
    return taken


def wrong_with_commands(path: Path) -> Iterator[str]:
    for arguments in (*READING, *(["show", str(n)] for n in IDS)):
        for form in ((), ("--json",)) if arguments[0] in ("stats", "search", "embeddings") else ((),):
            done = vaultembed(*arguments, *form, archive=path)
            said = done.stdout + done.stderr
            code = None
            if form and done.stdout:
                document = json.loads(done.stdout)
                code = document["error"] and document["error"]["code"]
            if "there is no message" in said:
                code = "message_not_found"
            could_not_read = arguments[0] == "repair-encoding" and done.returncode == 3  # a raw message that is none
            if done.returncode and code not in MAY_SAY and not could_not_read:
                typed = " ".join([*arguments, *form])
                yield f"{typed} ends with {done.returncode}: {done.stderr.strip() or said[:200]}"
    done = vaultembed("doctor", archive=path)
    if done.returncode not in (0, 4, 5) or "could not be checked" in done.stdout:
        yield f"doctor ends with {done.returncode}: {done.stdout}{done.stderr}"


def wrong_with_tools(path: Path) -> Iterator[str]:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("search_messages", {"query": "word0 word1 text", "mode": "text", "explain": True}),
        ("search_messages", {"query": "after:2000", "mode": "text", "source": "box"}),
        ("get_stats", {}),
        *(("aggregate", {"by": by}) for by in ("sender", "domain", "recipient", "year", "month", "label", "source")),
        ("aggregate", {"by": "type"}),
        *(("get_message", {"message_id": n}) for n in IDS),
        *(("get_thread", {"message_id": n}) for n in IDS),
        *(("find_similar_messages", {"message_id": n}) for n in (1, 5)),  # all others are like these
    ]

    async def ask() -> list[str]:
        calls = Calls(2)
        tools = {tool.name: tool for tool in make_tools(Tools(path, KeptEmbedders()), calls, calls)}
        wrong = []

        async def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
            try:
                found: Any = await tools[name].run(arguments, None, convert_result=True)  # type: ignore[arg-type]
            except Exception as error:
                wrong.append(f"{name} {arguments} raises {type(error).__name__}: {error}")
                return {}
            if getattr(found, "is_error", False):
                error = json.loads(found.content[0].text)["error"]
                if error["code"] not in MAY_SAY:
                    wrong.append(f"{name} {arguments}: {error}")
                return {}
            structured = found[1] if isinstance(found, tuple) else found.structured_content
            return dict(structured)

        for name, arguments in asked:
            await call(name, arguments)
        for order in ("newest", "oldest"):
            cursor, pages = "", 0
            while cursor is not None and pages <= len(ODD):
                page = await call("list_messages", {"limit": 3, "order": order, "cursor": cursor})
                cursor, pages = page.get("next_cursor"), pages + 1
            if cursor is not None:
                wrong.append(f"list_messages, {order}: the pages do not end")
        return wrong

    yield from anyio.run(ask)


@pytest.mark.slow
def test_an_odd_value_in_any_column_breaks_no_command_and_no_tool(whole: Path, tmp_path: Path) -> None:
    wrong = []
    taken = 0
    by_table = [[column for column in columns(whole) if column[0] == table] for table in TABLES]
    for together in zip_longest(*by_table):  # a column of each table at a time
        path = tmp_path / "a.db"
        shutil.copy(whole, path)
        odd = [column for column in together if column is not None]
        taken += sum(make_odd(path, *column) for column in odd)
        names = ", ".join(".".join(column) for column in odd)
        wrong += [f"{names}: {what}" for what in (*wrong_with_commands(path), *wrong_with_tools(path))]
        for companion in tmp_path.glob("a.db*"):
            companion.unlink()
    assert taken > 300  # most of them are written
    assert not wrong, f"{len(wrong)} failures:\n" + "\n".join(wrong)


def write(path: Path, *statements: str) -> None:
    with lenient(path) as db:
        for statement in statements:
            db.execute(statement)


def test_doctor_names_odd_values_and_puts_right_what_can_be_told(whole: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(whole, tmp_path / "a.db"))
    write(
        path,
        "UPDATE messages SET sent_at = 1404468000000 WHERE id = 1",
        "UPDATE messages SET sent_at = '2014-07-04T12:00:00+02:00' WHERE id = 2",
        "UPDATE messages SET zone_minutes = 5940 WHERE id = 3",
        "UPDATE participants SET name = x'c3bc' WHERE id = 4",
        "UPDATE attachments SET size = 'large' WHERE message_id = 5",
    )
    findings = {
        finding["what"].split()[0]: finding
        for finding in vaultembed_json("doctor", archive=path, exit_code=5)["findings"]
        if finding["kind"] == "odd_values"
    }
    assert {name: (found["count"], found["examples"]) for name, found in findings.items()} == {
        "messages.sent_at": (2, ["message 1: 1404468000000", "message 2: text"]),
        "messages.zone_minutes": (1, ["message 3: 5940"]),
        "participants.name": (1, ["row 4: blob"]),
        "attachments.size": (1, ["message 5: text"]),
    }
    assert findings["attachments.size"]["fix"] is None
    assert findings["attachments.size"]["way_out"]
    left = vaultembed_json("doctor", "--fix", archive=path, exit_code=5)
    assert [found["what"].split()[0] for found in left["findings"] if found["kind"] == "odd_values"] == [
        "attachments.size"
    ]
    assert vaultembed_json("show", "1", archive=path)["date"] == "2014-07-04T10:00:00+00:00"
    assert vaultembed_json("show", "2", archive=path)["date"] == "2014-07-04T10:00:00+00:00"
    assert vaultembed_json("show", "4", archive=path)["sender_name"] == "ü"


def test_an_odd_date_does_not_hide_the_others(whole: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(whole, tmp_path / "a.db"))
    write(
        path,
        "UPDATE messages SET sent_at = 'tomorrow' WHERE id = 1",
        "UPDATE messages SET sent_at = 9223372036854775807 WHERE id = 2",
        "UPDATE messages SET sent_at = -9223372036854775808 WHERE id = 3",
    )
    totals = vaultembed_json("stats", archive=path)["totals"]
    assert (totals["first_date"], totals["last_date"]) == ("2001-09-09T01:46:40+00:00",) * 2
    seen, after = [], None
    while True:
        page = list_messages(path, after=after, limit=2).data
        seen += [message.id for message in page.messages]
        after = page.next
        if after is None:
            break
    assert sorted(seen) == [n for n in IDS if n != 6]  # which is deleted
    assert seen[-1] == 1  # a text is no date


@pytest.mark.parametrize(
    ("seconds", "zone", "shown"),
    [
        (0, 90, "1970-01-01T01:30:00+01:30"),
        (0, 1440, "1970-01-01T00:00:00+00:00"),
        (0, None, "1970-01-01T00:00:00+00:00"),
        (1404468000000, 0, None),
        (-(2**63), 0, None),
        (253_402_300_799, 60, None),  # of the year 10000 there
    ],
)
def test_what_no_calendar_has_is_no_date(seconds: int, zone: int | None, shown: str | None) -> None:
    assert iso(seconds, zone) == shown


def test_what_no_calendar_has_is_not_imported(tmp_path: Path) -> None:
    box = mbox(tmp_path / "box", [mail("far", "away", date="Fri, 4 Jul 2014 10:00:00 GMT+99")])
    vaultembed_json("import", box, archive=tmp_path / "a.db")
    assert vaultembed_json("show", "1", archive=tmp_path / "a.db")["date"] == "2014-07-04T10:00:00+00:00"
    with new_archive(tmp_path / "b.db") as archive, archive.transaction():
        add_parsed(archive, new_message("late", sent_at=1404468000000))
        assert archive.rows("SELECT sent_at FROM messages") == [(None,)]


@pytest.mark.parametrize("first_or_last", [FIRST_SECOND, LAST_SECOND])
def test_a_shell_can_write_what_a_calendar_has_and_nothing_else(
    whole: Path, tmp_path: Path, first_or_last: int
) -> None:
    db = apsw.Connection(str(shutil.copy(whole, tmp_path / "a.db")))
    for value in (first_or_last, None, f"'{first_or_last}'", "strftime('%s', '2014-07-04')"):
        db.execute(f"UPDATE messages SET sent_at = {'NULL' if value is None else value} WHERE id = 1")
    for value in (
        "1404468000000",
        "'tomorrow'",
        "x'00'",
        "1.5",
        "1e999",
        first_or_last + (1 if first_or_last > 0 else -1),
    ):
        with pytest.raises(apsw.ConstraintError):
            db.execute(f"UPDATE messages SET sent_at = {value} WHERE id = 1")
    db.execute("UPDATE messages SET zone_minutes = -720 WHERE id = 1")
    with pytest.raises(apsw.ConstraintError):
        db.execute("UPDATE messages SET zone_minutes = 1440 WHERE id = 1")
    db.close()


def test_in_every_table_a_value_of_another_type_is_refused(whole: Path) -> None:
    db = apsw.Connection(str(whole))
    loose = {
        str(row[0]) for row in db.execute("SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict")
    }
    db.close()
    assert not [name for name in loose if not name.startswith(("sqlite_", "vec_"))]
