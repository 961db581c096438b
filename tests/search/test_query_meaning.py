"""A query finds what it says, never the opposite: every message by brute force, beside what the archive answers."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.archives import add, add_parsed, new_archive, new_message
from tests.kit.query_oracle import Mail, Tree, holds, read_mails, written
from vaultembed.archive.conditions import compile_condition
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.mail.deletion import delete_softly, matching_ids
from vaultembed.errors import QueryError, UsageError
from vaultembed.message import Attachment, Person, Recipient
from vaultembed.search.query import describe, parse_query
from vaultembed.service.deletion import select_messages
from vaultembed.service.searching import search_archive
from vaultembed.text.folding import folded

PEOPLE = [
    Person("anna@shop.example", "Anna Müller"),
    Person("jorg@example.org", "Jörg Åström"),
    Person("olga@example.ru", "Ольга ЙОВА"),
    Person("carl@shop.example", ""),
]
WORDS = ["invoice", "boiler", "garden", "müller", "ольга", "kettle"]
FOLDERS = ["Reisen/Österreich", "Reisen/Österreich/2019", "INBOX", "Archive/INBOX", "shop"]
DAY = 86_400


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty messages of every kind, with what is missing missing; some deleted, some changed behind the index."""
    found = tmp_path_factory.mktemp("query") / "a.db"
    luck = random.Random(14)
    with open_archive(found) as archive, archive.transaction():
        archive.execute("INSERT INTO sources VALUES (1, 'mbox', '/mail/Café/takeout.mbox', 0, 0)")
        archive.execute("INSERT INTO sources VALUES (2, 'maildir', '/mail/work', 0, 0)")
        for n in range(60):
            _add(archive, n, luck)
    with open_archive(found) as archive:
        delete_softly(archive, [5, 6, 7])
        archive.execute("UPDATE messages SET subject = subject || ' boiler' WHERE id IN (10, 11, 12)")
        assert archive.scalar("SELECT count(*) FROM fulltext_stale") == 3
    return found


@pytest.fixture(scope="module")
def mails(path: Path) -> dict[bool, list[Mail]]:
    """What is in it, by whether it is deleted. Nothing here changes it."""
    with open_archive_readonly(path) as archive:
        return {deleted: read_mails(archive, deleted=deleted) for deleted in (False, True)}


def _add(archive: Archive, n: int, luck: random.Random) -> None:
    people = [
        Recipient(luck.choice(("to", "cc", "bcc")), person)  # type: ignore[arg-type]
        for person in luck.sample(PEOPLE, luck.randint(0, 2))
    ]
    message = new_message(
        " ".join(luck.sample(WORDS, luck.randint(0, 2))),
        " ".join(luck.sample(WORDS, luck.randint(0, 3))),
        message_id=f"m{n}@example.org" if n % 7 else None,
        sent_at=None if n % 11 == 0 else 1_560_000_000 + luck.randint(-40, 40) * DAY // 2,
        sender=luck.choice(PEOPLE),
        recipients=tuple(people),
    )
    parsed = replace(
        message,
        sender=None if n % 9 == 0 else message.sender,
        zone_minutes=luck.choice((None, 0, 120, -480, 840)),
        list_id="garden.lists.example" if n % 5 == 0 else None,
        size_bytes=luck.choice((0, 500, 5_000_000)),
        attachments=(Attachment("Übersicht.pdf", "application/pdf", 10, b""),) if n % 4 == 0 else (),
        message_type="sms" if n % 13 == 0 else "email",
    )
    message_id = add_parsed(archive, parsed)
    if n % 3:
        archive.execute(
            "INSERT INTO message_sources VALUES (?, ?, ?, '', '', ?, NULL, '[]', '')",
            (1 + n % 2, str(n), message_id, " ".join(sorted(luck.sample(("answered", "flagged", "seen"), n % 4)))),
        )
    for kind, name in {(luck.choice(("folder", "label")), luck.choice(FOLDERS)) for _ in range(n % 3)}:
        archive.execute("INSERT INTO labels(kind, name) VALUES (?, ?) ON CONFLICT DO NOTHING", (kind, name))
        archive.execute(
            "INSERT INTO message_labels SELECT ?, id FROM labels WHERE kind = ? AND name = ?", (message_id, kind, name)
        )


VALUES: dict[str, list[str]] = {
    "word": WORDS,
    "prefix": ["inv", "mü", "ket", "гоа"],
    "phrase": ["invoice boiler", "garden kettle", "anna müller"],
    "subject": ["boiler", "MÜLLER"],
    "from": ["MÜLLER", "muller", "jorg", "astrom", "shop.example", "йова", "nobody"],
    "to": ["anna", "Åström"],
    "cc": ["carl", "ольга"],
    "bcc": ["jorg"],
    "with": ["anna", "carl"],
    "label": ["österreich", "reisen/osterreich", "INBOX", "2019", "reich"],
    "in": ["inbox", "Reisen", "Österreich/2019"],
    "is": ["read", "unread", "starred", "replied"],
    "filename": ["pdf", "ubersicht"],
    "list": ["garden.lists"],
    "has": ["attachment"],
    "before": ["2019-06-08", "2019-06-20"],
    "after": ["2019-06-08"],
    "on": ["2019-06-08", "2019-06", "2019"],
    "date": ["2019-06-01..2019-06-10", "..2019-05", "2019-06-12.."],
    "larger": ["499", "500"],
    "smaller": ["500"],
    "type": ["SMS", "email"],
    "source": ["cafe", "work"],
    "id": ["3", "m20@example.org"],
    "thread": ["2", "99999"],
}
LEAVES = st.sampled_from([(field, value) for field, values in VALUES.items() for value in values])
TREES = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        st.tuples(st.just("not"), part),
        st.tuples(st.sampled_from(("and", "or")), part, part),
        st.tuples(st.sampled_from(("and", "or")), part, part, part),
    ),
    max_leaves=6,
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(tree=TREES)
def test_what_is_demanded_is_what_brute_force_finds(path: Path, mails: dict[bool, list[Mail]], tree: Tree) -> None:
    query = parse_query(written(tree))
    expected: list[int] = []
    with open_archive_readonly(path) as archive:
        for deleted in (True, False):
            expected = [mail.id for mail in mails[deleted] if holds(tree, mail)]
            assert matching_ids(archive, compile_condition(query.everything), deleted=deleted) == expected
        again = parse_query(describe(query.everything))
        found = matching_ids(archive, compile_condition(again.everything), deleted=False)
        assert found == expected, "as it is shown to be read"


@QUICK
@given(tree=TREES.filter(lambda tree: tree[0] not in ("word", "prefix", "and")))
def test_conditions_of_a_search_are_no_suggestions(path: Path, mails: dict[bool, list[Mail]], tree: Tree) -> None:
    expected = {mail.id for mail in mails[False] if holds(tree, mail)}
    found = {hit.id for hit in search_archive(path, written(tree), mode="text", limit=100).data.results}
    assert found <= expected
    if not parse_query(written(tree)).words:
        assert found == expected


def test_a_search_for_everything_lists_everything(path: Path, mails: dict[bool, list[Mail]]) -> None:
    every = {mail.id for mail in mails[False]}
    assert {hit.id for hit in search_archive(path, "in:anywhere", mode="text", limit=100).data.results} == every


@QUICK
@given(tree=LEAVES)
def test_every_message_is_on_one_side_of_a_field_and_none_on_both(
    path: Path, mails: dict[bool, list[Mail]], tree: Tree
) -> None:
    every = {mail.id for mail in mails[False]}
    stale = {mail.id for mail in mails[False] if mail.is_stale}
    with open_archive_readonly(path) as archive:
        inside, outside = (
            set(matching_ids(archive, compile_condition(parse_query(text).everything), deleted=False))
            for text in (written(tree), f"-{written(tree)}")
        )
    assert inside & outside == set()
    assert inside | outside == (every - stale if tree[0] in ("word", "prefix", "phrase", "subject") else every)


@pytest.mark.parametrize(
    "arguments",
    [
        ["from:anna not boiler"],
        ["a or b"],
        ["boiler - x"],
        [""],
        ["from:anna", "NOT", "gift card"],
        ["17,18"],
        ["17 18"],
        ["boiler -from:nobody"],
        ["boiler -body:kettle"],
        ["boiler -(kettle, garden)"],
        ["w " * 300],
    ],
)
def test_a_command_that_deletes_asks_where_it_may_mean_the_opposite(path: Path, arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        select_messages(path, arguments)


def test_a_command_that_deletes_indexes_first_what_changed(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    assert set(select_messages(copy, ["subject:boiler"]).ids) >= {10, 11, 12}


@pytest.mark.parametrize(
    ("query", "reading"),
    [
        ("from:shop -invoice", 'from:shop AND NOT "invoice"'),
        ("from:anna NOT boiler", 'from:anna AND NOT "boiler"'),
        ("a b OR c", '"a" AND ("b" OR "c")'),
        ("a AND b OR c", '("a" AND "b") OR "c"'),
        ("-(a OR b) c*", 'NOT ("a" OR "b") AND c*'),
        ("from:(anna OR bob) x", '(from:anna OR from:bob) AND "x"'),
        ("“two words” subject:(red house)", '"two words" AND (subject:"red" AND subject:"house")'),
        (
            "re: https://example.org/?a=b 12:30 f(x) :-)",
            '"re:" AND "https://example.org/?a=b" AND "12:30" AND "f(x)" AND ":-)"',
        ),
        ("on:2019-07-04", "after:2019-07-04 AND before:2019-07-05"),
        ("before:2014-03-04T10:00:00+00:00", "before:2014-03-04T10:00:00+00:00"),
        ('date:"June 2019"', "after:2019-06-01 AND before:2019-07-01"),
        ("larger:5M", "larger:5242880"),
        ("is:unread", "NOT is:seen"),
        ("shop –invoice −receipt", '"shop" AND NOT "invoice" AND NOT "receipt"'),
        ("filename:*.pdf from:<a@b.example>", "filename:.pdf AND from:a@b.example"),
        ("a - b -- c", '"a" AND "-" AND "b" AND "--" AND "c"'),
        ("from：anna （a OR b）", 'from:anna AND ("a" OR "b")'),
        ("from:shop NOT(invoice OR receipt)", 'from:shop AND NOT ("invoice" OR "receipt")'),
        ("shop \u200b-invoice -from:\u200banna\u200e", '"shop" AND NOT "invoice" AND NOT from:anna'),
        ("shop NOT\u200b invoice -fr\u2060om:anna", '"shop" AND NOT "invoice" AND NOT from:anna'),
        ("کتاب\u200cها", '"کتاب\u200cها"'),
        ('from:"Anna Müller <anna@x.example>"', "from:anna@x.example"),
        ("on:2019-06-30T1000", "after:2019-06-30T10:00:00 AND before:2019-06-30T10:01:00"),
        ("on:20190630T100005", "after:2019-06-30T10:00:05 AND before:2019-06-30T10:00:06"),
        ("on:2019-06-30T10+02", "after:2019-06-30T08:00:00+00:00 AND before:2019-06-30T09:00:00+00:00"),
        ("on:2019-06-30T10:00:05.25Z", "after:2019-06-30T10:00:05+00:00 AND before:2019-06-30T10:00:06+00:00"),
        ("on:2019-06-30T10", "after:2019-06-30T10:00:00 AND before:2019-06-30T11:00:00"),
        ("-in:anywhere", "NOT in:anywhere"),
        ("-ｆｒｏｍ：anna", "NOT from:anna"),
        ("label:[Gmail]/Sent -from:<a@b.example>", "label:[Gmail]/Sent AND NOT from:a@b.example"),
        (":-P in (house) to :-)", '":-P" AND "in" AND "house" AND "to" AND ":-)"'),
        ("not an or and", '"not" AND "an" AND "or" AND "and"'),
    ],
)
def test_a_query_is_read_as(query: str, reading: str) -> None:
    assert describe(parse_query(query).everything) == reading


@pytest.mark.parametrize(
    ("query", "place", "hint"),
    [
        ("is:spam", "spam", "is:read"),
        ("boiler form:anna", "form:", "from:"),
        ("subjct:x", "subjct:", "subject:"),
        ("tag:x", "tag:", "label:"),
        ("from: anna", "from:", "without a space"),
        ("has:drive", "drive", "has:attachment"),
        ("before:03/04/2019", "03/04/2019", "2019-06-30"),
        ("larger:big", "big", "5M"),
        ("thread:abc", "abc", "thread_id"),
        ('the "red house', '"', "phrase"),
        ("(a OR b", "(", "quotes"),
        ("a OR", "OR", "quotes"),
        ("AND b", "AND", "quotes"),
        ("a NOT", "NOT", "quotes"),
        ("shop --invoice", "--", "-word"),
        ("()", "(", "quotes"),
        ("from:(to:x)", "to:", "by itself"),
        ("anna !boiler", "!", "-word"),
        ("anna —boiler", "—", "-word"),
        ("to:me", "me", "ADDRESS"),
        ("from:anna or from:bob", "or", "OR"),
        ("a -(b Or c)", "Or", "OR"),
        ("from:(anna or bob)", "or", "OR"),
        ("from:anna or bob", "or", "OR"),
        ("a -{b c}", "-{", "(a OR b)"),
        ("a -'b c'", "'b", "two words"),
        ("a NOT ‘b c’", "‘", "two words"),
        ("subject:-invoice", "-invoice", "-field:value"),
        ("a NOT:b", "NOT:", "space"),
        ("- from:anna b", "-", "space"),
        ("rfc822msgid:m1@x.example", "rfc822msgid:", "id:"),
        ("label:trav*", "trav*", "without *"),
        ("from:a*b", "a*b", "without *"),
        ("date:2020..2019", "2020..2019", "2019..2020"),
        ("on:9999-12-31", "9999-12-31", "2019"),
        ("before:2019111", "2019111", "2019"),
        ("shop -from :anna", "-from :", "field:value"),
        ("shop -from : anna", "-from : ", "field:value"),
        ('shop -subject"big sale"', '-subject"', "field:value"),
        ("shop -From(anna OR bob)", "-From(", "field:value"),
        ("shop -from=anna", "-from=", "field:value"),
        ("from:'anna bob'", "'anna", "two words"),
        ("-from:NOT anna", "NOT", "-field:value"),
        ("shop -NOT invoice", "-", "quotes"),
        ('shop -big"sale of"', '"', "space"),
        ('-"say \\"sale\\" now"', "sale", "space"),
        ('-"a ""sale"" b"', '"', "space"),
        ('"co"-op', "-", "space"),
        *((f"shop {minus}invoice", minus, "-word") for minus in "¬⁻₋˗➖﹘⸺ー"),
        *((f"shop {run}invoice", run, "-word") for run in (",-", ".-", "'-", "*-", "#--")),
        *((f"shop -{mark}big sale", mark, "two words") for mark in "′″❝〝『《‚<＇｢［"),
        *((f"shop NOT {mark}big sale", mark, "two words") for mark in "’″『<["),
        ("larger_than:5M", "larger_than:", "larger:"),
    ],
)
def test_what_cannot_be_read_is_shown_with_its_place_and_the_way_out(query: str, place: str, hint: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    lines = caught.value.message.splitlines()
    start = lines[-1].index("^")
    assert lines[-2][start:].startswith(place), caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("query", ['""', '"…"', "NOT :-)", "(:-) OR a)", "-" + "(" * 50 + "a" + ")" * 50])
def test_a_condition_that_says_nothing_is_refused(query: str) -> None:
    with pytest.raises(QueryError):
        parse_query(query)


@given(st.text(alphabet="ab :\"()-*ORNTfrom“\n\t\\'%_~é日", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        query = parse_query(text)
    except QueryError:
        return
    describe(query.everything)
    compile_condition(query.everything)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("MÜLLER", "muller", True),
        ("Ångström", "angstrom", True),
        ("Straße", "STRASSE", True),
        ("Łódź", "lodz", True),
        ("Jørgen", "JORGEN", True),
        ("ΣΊΣΥΦΟΣ", "σισυφος", True),
        ("İstanbul", "istanbul", True),
        ("ｆｕｌｌ", "full", True),
        ("an\u200ena", "anna", True),
        ("ハス", "バス", False),
        ("Счёт", "СЧЕТ", True),
        ("τιμολόγιο", "ΤΙΜΟΛΟΓΙΟ", True),
        ("ığdır", "IĞDIR", True),
        ("שָׁלוֹם", "שלום", True),
        ("مُحَمَّد", "محمد", True),
        ("सुनील", "सनील", False),
        ("ดี", "ดำ", False),
        ("কমল", "কোমল", False),
        ("박", "바", False),
    ],
)
def test_fields_mind_neither_case_nor_accents_and_tell_letters_apart(one: str, other: str, same: bool) -> None:
    assert (folded(other) in folded(one)) is same


@pytest.mark.parametrize(
    ("text", "query", "same"),
    [
        ("оплатите счёт", "счет", True),
        ("ΤΙΜΟΛΟΓΙΟ 17", "τιμολόγιο", True),
        ("Große Straße", "GROSSE strasse", True),
        ("Łódź, Tromsø", "lodz tromso", True),
        ("مُحَمَّد", "محمد", True),
        ("मोती", "मीता", False),
        ("कमरा", "कम", False),
        ("दुनिया", "दुनि*", True),
        ("ที่ดี", "ดี", False),
        ("schön​weit", "weit", True),
    ],
)
def test_words_mind_neither_case_nor_accents_and_tell_letters_apart(
    tmp_path: Path, text: str, query: str, same: bool
) -> None:
    with new_archive(tmp_path / "a.db") as archive:
        add(archive, text)
        for asked, expected in ((query, same), (f"-({query})", not same)):
            only = compile_condition(parse_query(asked).everything)
            assert (matching_ids(archive, only, deleted=False) == [1]) is expected, asked


def test_what_is_excluded_is_not_embedded_and_or_is_no_word() -> None:
    query = parse_query("from:anna heating OR boiler -invoice NOT (a OR b) broken*")
    assert query.text == "heating boiler broken"
