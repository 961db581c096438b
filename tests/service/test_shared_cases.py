"""Small inputs that failed once, imported as they are. They lie beside the checkout, each with what is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.generations.work import read_work
from vaultembed.service.deletion import select_messages
from vaultembed.service.importing import import_mail
from vaultembed.service.searching import search_archive
from vaultembed.text.embeddable.prepare import prepare_text

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not beside this checkout"),
]

MESSAGE = (
    "SELECT {} FROM messages m LEFT JOIN message_bodies b ON b.message_id = m.id"
    " LEFT JOIN participants p ON p.id = m.sender_id ORDER BY m.id"
)
HEADER = MESSAGE.format("count(*), sum(subject <> ''), sum(p.address <> ''), sum(sent_at IS NOT NULL)")
BODIES = MESSAGE.format("b.body_text")
CONVERSATIONS = "SELECT count(*) FROM messages GROUP BY conversation_id ORDER BY count(*) DESC"
DAYS = MESSAGE.format("date(sent_at, 'unixepoch')")
ATTACHED = MESSAGE.format("count(*) FILTER (WHERE has_attachments)")
PROBLEMS = "SELECT DISTINCT kind FROM problems ORDER BY kind"
FOLDERS = "SELECT name FROM labels WHERE kind = 'folder' ORDER BY name"
ANSWERED = "SELECT count(*) FROM message_sources WHERE flags LIKE '%answered%seen%'"

READABLE = "The kingfisher letter is readable."


def archive_of(path: Path, case: str) -> Path:
    archive = path / "a.db"
    folder = CASES / case
    import_mail(archive, [folder / "in" if (folder / "in").is_dir() else folder])
    return archive


def rows(archive: Path, sql: str) -> list[Any]:
    with open_archive_readonly(archive) as opened:
        found = opened.rows(sql)
    return [row[0] if len(row) == 1 else row for row in found]


@pytest.mark.parametrize(
    ("case", "sql", "expected"),
    [
        ("bugs/02-bogus-gtFrom-header", HEADER, [(2, 2, 2, 2)]),
        ("bugs/02b-gtFrom-300", HEADER, [(300, 300, 300, 300)]),
        ("bugs/02d-gtFrom-eml", HEADER, [(4, 4, 4, 4)]),
        ("bugs/06-maildir-seps", HEADER, [(10, 10, 10, 10)]),
        ("bugs/06-maildir-seps", ANSWERED, [5]),
        ("bugs/50-encoded-ids", CONVERSATIONS, [7]),
        ("bugs/51-inline-attachment", ATTACHED, [6]),
        ("bugs/52-eudora-no-date", DAYS, ["2004-10-28"] * 3),
        ("bugs/55-thread-no-ids", CONVERSATIONS, [1] * 6),
        ("mail/mbox-bare-from-no-blank-line.mbox", HEADER, [(3, 3, 3, 3)]),
        ("mail/mbox-dateless-dash-after-dated.mbox", HEADER, [(3, 3, 3, 3)]),
        ("mail/crcrlf.eml", HEADER, [(1, 1, 1, 1)]),
        ("mail/css-too-much.eml", PROBLEMS, ["html-left-out"]),
        ("mail/html-font-paragraphs-1000.eml", PROBLEMS, ["html-left-out"]),
        ("mail/winmail-only.eml", PROBLEMS, ["unread-text"]),
        ("mail/smime-opaque-signed.eml", PROBLEMS, ["unread-text"]),
        ("mail/attachments-1001.eml", PROBLEMS, ["attachments-left-out"]),
    ],
)
def test_a_case_is_read_as_its_readme_says(tmp_path: Path, case: str, sql: str, expected: list[Any]) -> None:
    assert rows(archive_of(tmp_path, case), sql) == expected


@pytest.mark.parametrize(
    ("case", "number", "text"),
    [
        ("bugs/14-cte-variants", 23, READABLE.removesuffix(".")),
        ("mail/base64-footer-googlegroups.eml", 1, "Grüße aus München"),
        ("mail/base64-footer-listserv.eml", 1, "Grüße aus München"),
        ("mail/base64-footer-unsubscribe.eml", 1, "Grüße aus München"),
        ("mail/text-declared-base64.eml", 1, "This is plain text marked as base64, zebra."),
        ("mail/boundary-unclosed-quote.eml", 1, "Grüße aus München"),
        ("mail/boundary-no-semicolon.eml", 1, "hello zebra"),
        ("mail/toplevel-text-named.eml", 1, "The only text of this message, zebra."),
        ("mail/body-is-bare-base64-pipermail.mbox", 1, "This whole text about zebras is base64"),
        ("mail/forwarded-as-attachment.eml", 1, "Inner walrus text"),
        ("mail/maildir-zlib", 1, "zebra"),
    ],
)
def test_the_text_of_a_case_is_read(tmp_path: Path, case: str, number: int, text: str) -> None:
    bodies = rows(archive_of(tmp_path, case), BODIES)
    assert len(bodies) == number
    assert all(text in body for body in bodies)


def test_japanese_of_the_cases_is_read(tmp_path: Path) -> None:
    bodies = rows(archive_of(tmp_path, "bugs/53-iso2022jp-vendor"), BODIES)
    assert sorted(bodies) == sorted(["①②会議㈱", "髙橋さん", "会議は金曜日です", "会議は金曜日です", "x"])


@pytest.mark.parametrize("case", ["bugs/24d-first-header-line", "bugs/24e-odd-header-eml"])
def test_an_odd_line_does_not_end_a_header(tmp_path: Path, case: str) -> None:
    for number, path in enumerate(sorted((CASES / case / "in").iterdir())):
        archive = tmp_path / f"{number}.db"
        import_mail(archive, [path])
        messages = 3 if path.suffix == ".mbox" else 1
        assert rows(archive, HEADER)[0][:3] == (messages,) * 3, path.name


@pytest.mark.parametrize(
    ("case", "query", "number"),
    [
        ("bugs/09-utf7-folders", "label:entwürfe", 1),
        ("bugs/09-utf7-folders", 'in:"messages envoyés"', 1),
        ("bugs/09-utf7-folders", "in:отправленные", 1),
        ("bugs/20-timezone", "after:2022-07-04 before:2022-07-05", 1),
        *(("bugs/54-stroke-letters", word, 1) for word in ("lodz", "oystein", "aero", "dorde", "smorrebrod", "oeuvre")),
        ("bugs/25-delete-minus", "from:shop -invoice", 6),
    ],
)
def test_a_case_is_found(tmp_path: Path, case: str, query: str, number: int) -> None:
    archive = archive_of(tmp_path, case)
    assert len(search_archive(archive, query, mode="text", limit=50).data.results) == number
    if case.endswith("delete-minus"):
        assert len(select_messages(archive, [query]).ids) == number


@pytest.mark.parametrize(
    ("case", "own", "others"),
    [
        ("mail/pipermail-reply-outlook-quote.mbox", "My own answer", "ocelots"),
        ("mail/list-footer-1990s.eml", "One sentence about zebras", "mailing list"),
    ],
)
def test_of_a_case_only_its_author_is_embedded(tmp_path: Path, case: str, own: str, others: str) -> None:
    with open_archive_readonly(archive_of(tmp_path, case)) as archive:
        (work,) = read_work(archive, [1])
    prepared = prepare_text(work.subject, work.body_text, answers=work.answers)
    assert own in prepared
    assert others not in prepared
