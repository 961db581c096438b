from __future__ import annotations

import base64
import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultembed.message import ParsedMessage, Person
from vaultembed.text.mime.mime import parse_message


def mail(*fields: str, body: str | bytes = "") -> bytes:
    raw = body if isinstance(body, bytes) else body.encode()
    return "\n".join(fields).encode("utf-8", "surrogateescape") + b"\n\n" + raw


def kinds(parsed: ParsedMessage) -> set[str]:
    return {problem.kind for problem in parsed.problems}


# ---- header -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("=?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?= aus =?iso-8859-1?q?K=F6ln?=", "Grüße aus Köln"),
        ("=?utf-8?B?R3LD?= =?utf-8?B?vMOfZQ==?=", "Grüße"),  # a character cut in two
        ("=?utf-8?q?Gr=C3=BC?=\n =?utf-8?q?=C3=9Fe?=", "Grüße"),
        ("=?utf-8?B?R3LDvMOfZQ?=", "Grüße"),  # padding lost
        ("=?utf-8?Q?Who? Me, and you?=", "Who? Me, and you"),  # characters that must not be there
        ("=?x-unknown?q?plain?=", "plain"),
        ("=?utf-8*de?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?gb2312?B?xOO6ww==?=", "你好"),
        ("=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "日本"),
        ("=?utf-8?B?unclosed", "=?utf-8?B?unclosed"),
        ("one\n\ttwo  three", "one two three"),
    ],
)
def test_subject_reads_as_its_author_wrote_it(header: str, expected: str) -> None:
    assert parse_message(mail(f"Subject: {header}")).subject == expected


def test_raw_8bit_header_takes_the_charset_of_the_body() -> None:
    raw = b"Subject: \xcf\xf0\xe8\xe2\xe5\xf2\nContent-Type: text/plain; charset=windows-1251\n\n\xec\xe8\xf0"
    parsed = parse_message(raw)
    assert parsed.subject == "Привет"
    assert parsed.body_text == "мир"
    assert "undeclared-8bit" in kinds(parsed)


@pytest.mark.parametrize("name", ["Müller", "José García", "Ångström", "Zoë"])
def test_short_western_name_without_charset_is_not_read_as_hungarian_or_greek(name: str) -> None:
    raw = b"From: " + name.encode("cp1252") + b" <a@b.org>\n\nx"
    assert parse_message(raw).sender == Person("a@b.org", name)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Ann <Ann@Example.ORG>", [("ann@example.org", "Ann")]),
        ("ann@example.org (Ann B.)", [("ann@example.org", "Ann B.")]),
        ("ann at example.org (Ann B.)", [("ann at example.org", "Ann B.")]),
        ("Doe, John <j@d.org>, x@y.org", [("j@d.org", "Doe, John"), ("x@y.org", "")]),
        ('"Doe, John" <j@d.org>', [("j@d.org", "Doe, John")]),
        ("\"'j@d.org'\" <j@d.org>", [("j@d.org", "")]),
        ('"open quote <j@d.org>', [("j@d.org", "open quote")]),
        ("undisclosed-recipients:;", []),
        ("Friends: a@b.org, c@d.org;", [("a@b.org", ""), ("c@d.org", "")]),
        ("<mailto:a@b.org>; C <c@d.org>", [("a@b.org", ""), ("c@d.org", "C")]),
        ("=?utf-8?q?M=C3=BCller=2C_A?= <a@b.org>", [("a@b.org", "Müller, A")]),
        ('"=?utf-8?q?M=C3=BCller?=" <a@b.org>', [("a@b.org", "Müller")]),
        ("root", [("root", "")]),
        ("a@b.org c@d.org", [("a@b.org", "c@d.org")]),
        ("<>", []),
    ],
)
def test_addresses_of_every_dialect_are_read(field: str, expected: list[tuple[str, str]]) -> None:
    parsed = parse_message(mail(f"To: {field}"))
    assert [(one.person.address, one.person.name) for one in parsed.recipients] == expected


def test_a_hundred_thousand_recipients_take_seconds_at_most() -> None:
    field = ",\n ".join(f'"Person {n}" <person{n}@example.org>' for n in range(100_000))
    begin = time.process_time()
    parsed = parse_message(mail(f"To: {field}"))
    assert len(parsed.recipients) == 100_000
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    ("date", "seconds", "zone"),
    [
        ("Mon, 2 Jul 2012 10:48:29 +0900 (KST)", 1341193709, 540),
        ("Mon, 2 Jul 2012 01:48:29 GMT", 1341193709, 0),
        ("Mon, 2 Jul 12 01:48:29 -0000", 1341193709, None),
        ("Sun, 1 Jul 2012 21:48:29 EDT", 1341193709, -240),
        ("Mon Jul  2 01:48:29 2012", 1341193709, None),
        ("Mon Jul  2 01:48:29 UTC 2012", 1341193709, 0),
        ("2012-07-02T01:48:29Z", 1341193709, 0),
        ("2012-07-02 10:48:29 +0900", 1341193709, 540),
        ("Mo, 2 Juli 2012 03:48:29 +0200", 1341193709, 120),
        ("lun., 2 juil. 2012 03:48:29 +0200", 1341193709, 120),
        ("02.07.2012 01:48:29", 1341193709, None),
        ("Mon, 2 Jul 112 01:48:29 GMT", 1341193709, 0),
        ("Mon, 2 Jul 2012 1:48:29 AM GMT", 1341193709, 0),
        ("Mon, 2 Jul 2012 05:18 +0330", 1341193680, 210),
    ],
)
def test_dates_of_real_clients_are_read(date: str, seconds: int, zone: int | None) -> None:
    parsed = parse_message(mail(f"Date: {date}"))
    assert (parsed.sent_at, parsed.zone_minutes) == (seconds, zone)
    assert "bad-date" not in kinds(parsed)


@pytest.mark.parametrize(
    "date", ["yesterday", "Mon, 30 Jun 3609 15:33:50 +0600", "Thu, 1 Jan 1970 00:00:00 +0000", "-1", "99:99"]
)
def test_impossible_date_gives_way_to_delivery_then_to_the_earliest_received(date: str) -> None:
    received = (
        "Received: from a by b; Tue, 3 Jul 2012 01:48:29 GMT",
        "Received: from c by a; Mon, 2 Jul 2012 01:48:29 GMT",
    )
    parsed = parse_message(mail(f"Date: {date}", *received))
    assert parsed.sent_at == 1341193709
    assert "bad-date" in kinds(parsed)
    assert parse_message(mail(f"Date: {date}", *received), delivered_at=7_000_000).sent_at == 7_000_000


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("<a@b>", "a@b"),
        ('Your message of "Mon, 1 Jan 2001 10:00" <a@b>', "a@b"),
        ('Message from Joe <joe@x.org> of "Mon, 1 Jan" <a@b>', "a@b"),
        ('<a@b> from "Joe" at Oct 1, 97 10:00 am', "a@b"),
        ("<a@b> (Joe's message of Monday)", "a@b"),
        ("Message from Joe <joe@x.org>", None),
        ("a@b", "a@b"),
        ("<a\n @b>", "a@b"),
        ("", None),
    ],
)
def test_in_reply_to_of_every_dialect_names_the_message(field: str, expected: str | None) -> None:
    assert parse_message(mail(f"In-Reply-To: {field}")).in_reply_to == expected


def test_references_come_oldest_first_without_repeats_and_without_the_message_itself() -> None:
    parsed = parse_message(mail("Message-ID: <c@x>", "References: <a@x>\n\t<b@x>,<a@x> <c@x>"))
    assert parsed.references == ("a@x", "b@x")
    assert parsed.rfc822_message_id == "c@x"


def test_list_and_labels_are_captured() -> None:
    parsed = parse_message(
        mail(
            "List-Id: Talk about geo <Geo.Example.ORG>",
            'X-Gmail-Labels: Inbox,"A, B",=?utf-8?q?K=C3=B6ln?=',
            "Keywords: x, y",
        )
    )
    assert parsed.list_id == "geo.example.org"
    assert parsed.labels == ("Inbox", "A, B", "Köln", "x", "y")


# ---- body -------------------------------------------------------------------------------------------------


def alternative(plain: str, html: str) -> bytes:
    message = EmailMessage()
    message.set_content(plain)
    message.add_alternative(html, subtype="html")
    return message.as_bytes()


def test_plain_alternative_is_preferred() -> None:
    assert parse_message(alternative("Hello there", "<p>Hello <b>there</b></p>")).body_text == "Hello there"


@pytest.mark.parametrize(
    "stub",
    ["", "Your email client cannot display HTML messages.", "This is an HTML-format message, please view it online."],
)
def test_html_speaks_where_the_plain_alternative_is_a_stub(stub: str) -> None:
    html = "<p>The harvest of this year was better than anybody had dared to hope in spring.</p>"
    assert parse_message(alternative(stub, html)).body_text.startswith("The harvest")


def test_charset_is_taken_at_its_word_and_mojibake_is_left_for_repair() -> None:
    parsed = parse_message(mail("Content-Type: text/plain; charset=iso-8859-1", body="schön".encode()))
    assert parsed.body_text == "schÃ¶n"
    assert kinds(parsed) == set()


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        ("iso-8859-1", "cp1252", "“quoted” – 5 €"),
        ("gb2312", "gb18030", "朱镕基 你好"),
        ("ks_c_5601-1987", "cp949", "안녕하세요"),
        ("x-sjis", "cp932", "①日本"),
        ("iso-8859-8-i", "iso8859-8", "שלום"),
        ("unicode-1-1-utf-7", "utf-7", "grüß"),
        ("utf-16", "utf-16-le", "hello wörld"),
        ("utf8", "utf-8", "grüß"),
        ('"UTF-8"', "utf-8", "grüß"),
        ("windows1251", "cp1251", "привет"),
        ("iso8859_2", "iso8859-2", "łódź"),
    ],
)
def test_charsets_go_by_many_names(charset: str, codec: str, text: str) -> None:
    parsed = parse_message(
        mail(
            f"Content-Type: text/plain; charset={charset}",
            "Content-Transfer-Encoding: base64",
            body=base64.b64encode(text.encode(codec)),
        )
    )
    assert parsed.body_text == text
    assert kinds(parsed) == set()


@pytest.mark.parametrize("charset", ["idna", "punycode", "hex", "rot13", "unicode_escape", "x-made-up"])
def test_a_codec_that_is_no_charset_is_a_problem_and_not_an_error(charset: str) -> None:
    parsed = parse_message(mail(f"Content-Type: text/plain; charset={charset}", body="grüß"))
    assert parsed.body_text == "grüß"
    assert "unknown-charset" in kinds(parsed)


def test_damaged_base64_gives_what_can_be_read() -> None:
    good = base64.encodebytes(b"The first line of it.\n" * 8).decode()
    parsed = parse_message(mail("Content-Transfer-Encoding: base64", body=good.replace("\n", "!\n")[:-5]))
    assert parsed.body_text.startswith("The first line of it.\nThe first")
    assert "broken-base64" in kinds(parsed)


def test_list_footer_behind_base64_is_not_decoded_as_part_of_it() -> None:
    body = base64.encodebytes("Grüße an alle.".encode()).decode() + "_______________________\nmy list\nhttp://x.org\n"
    parsed = parse_message(
        mail("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64", body=body)
    )
    assert parsed.body_text == "Grüße an alle."


def test_flowed_lines_are_joined_and_quotes_stay_quotes() -> None:
    body = "> quoted text that \n> goes on\nThis is one \nparagraph.\n  stuffed\n-- \nme"
    parsed = parse_message(mail("Content-Type: text/plain; format=flowed", body=body))
    assert parsed.body_text == "> quoted text that goes on\nThis is one paragraph.\n stuffed\n-- \nme"


def test_attachment_names_of_every_encoding_are_read() -> None:
    raw = mail(
        "Content-Type: multipart/mixed; boundary=x",
        body="--x\n\nhello\n"
        "--x\nContent-Type: application/pdf; name*0*=utf-8''Gr%C3%BC; name*1*=%C3%9Fe.pdf\n"
        "Content-Transfer-Encoding: base64\n\naGVsbG8=\n"
        '--x\nContent-Type: image/png\nContent-Disposition: inline; filename="=?utf-8?q?K=C3=B6ln=2Epng?="\n\nx\n'
        "--x\nContent-Type: text/plain\nContent-Disposition: attachment; filename=C:\\dir\\notes.txt\n"
        "\nnot shown\n--x--\n",
    )
    parsed = parse_message(raw)
    assert parsed.body_text == "hello"
    assert [one.filename for one in parsed.attachments] == ["Grüße.pdf", "Köln.png", "notes.txt"]
    assert [one.inline for one in parsed.attachments] == [False, True, False]
    assert parsed.attachments[0].size == 5


def test_enclosed_message_is_content_and_an_encrypted_one_is_empty_without_a_problem() -> None:
    inner = mail("From: Ann <ann@example.org>", "Subject: The key", body="It is under the mat.").decode()
    parsed = parse_message(
        mail(
            "Content-Type: multipart/mixed; boundary=x",
            body=f"--x\n\nsee below\n--x\nContent-Type: message/rfc822\n\n{inner}\n--x--",
        )
    )
    assert "Subject: The key" in parsed.body_text
    assert parsed.body_text.endswith("It is under the mat.")
    secret = parse_message(
        mail(
            "Content-Type: multipart/encrypted; boundary=x",
            body="--x\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--x--",
        )
    )
    assert (secret.body_text, secret.problems) == ("", ())


def test_invitation_without_text_gives_its_summary() -> None:
    body = (
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Chess\\, as always\nLOCATION:Club\n house\nEND:VEVENT\nEND:VCALENDAR\n"
    )
    parsed = parse_message(mail("Content-Type: text/calendar; charset=utf-8", body=body))
    assert parsed.body_text == "Chess, as always\nClubhouse"


def test_text_beyond_the_limit_is_cut_and_says_so() -> None:
    parsed = parse_message(mail("Subject: long", body="word " * 1_000_000))
    assert len(parsed.body_text) <= 4_000_000
    assert "body-cut" in kinds(parsed)


# ---- never raises -----------------------------------------------------------------------------------------


def is_clean(parsed: ParsedMessage) -> bool:
    texts = [
        parsed.subject,
        parsed.body_text,
        parsed.rfc822_message_id or "",
        parsed.in_reply_to or "",
        parsed.list_id or "",
    ]
    texts += [*parsed.references, *parsed.labels, *(one.filename + one.mime_type for one in parsed.attachments)]
    texts += [one.person.address + one.person.name for one in parsed.recipients]
    texts += [one.kind + one.detail for one in parsed.problems]
    if parsed.sender:
        texts += [parsed.sender.address, parsed.sender.name]
    everything = "".join(texts)
    everything.encode("utf-8")  # raises on a lone surrogate
    return "\0" not in everything


FIELDS = st.sampled_from(
    [
        b"From",
        b"To",
        b"Subject",
        b"Date",
        b"Content-Type",
        b"Content-Transfer-Encoding",
        b"Content-Disposition",
        b"References",
        b"In-Reply-To",
        b"Message-ID",
        b"List-Id",
        b"Received",
        b"X-Gmail-Labels",
    ]
)
PIECES = st.sampled_from(
    [
        b"text/plain",
        b"text/html",
        b"multipart/mixed",
        b"multipart/alternative",
        b"message/rfc822",
        b"; charset=",
        b"utf-7",
        b"utf-16",
        b"iso-2022-jp",
        b"; boundary=x",
        b"\n--x\n",
        b"\n--x--\n",
        b"\n\n",
        b"base64",
        b"quoted-printable",
        b"x-uuencode",
        b'"',
        b"<",
        b">",
        b"=?utf-8?q?",
        b"?=",
        b"=?x?B?",
        b"(",
        b")",
        b"@",
        b",",
        b";",
        b"filename*0*=",
        b"utf-8''%ff",
        b"+2AA-",
        b"\x1b$B",
        b"\xed\xa0\x80",
        b"\x00",
        b"\xff\xfe",
        b"<blockquote>",
        b"begin 644 x\n",
        b"1 Jan 2000 10:00",
        b"format=flowed",
        b"2012",
        b"Content-Type: ",
    ]
)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message(raw: bytes) -> None:
    assert is_clean(parse_message(raw))


@given(
    st.lists(st.tuples(FIELDS, st.lists(PIECES | st.binary(max_size=8), max_size=8)), max_size=8),
    st.lists(PIECES, max_size=20),
)
def test_any_shuffle_of_mail_is_a_message(fields: list[tuple[bytes, list[bytes]]], body: list[bytes]) -> None:
    raw = b"".join(name + b": " + b"".join(value) + b"\n" for name, value in fields) + b"\n" + b"".join(body)
    assert is_clean(parse_message(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 3_000,
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3_000)),
        b"Content-Type: message/rfc822\n\n" * 3_000,
        b"Content-Type: text/plain" + b"; " * 500_000,
        b"Content-Type: text/plain; " + b"a" * 1_000_000,
        b"Subject: " + b"=?utf-8?q?a" * 100_000,
        b"Subject: " + b"=?utf-8?q?a?= " * 100_000,
        b"From: " + b'"' * 500_001,
        b"From: " + b"(" * 500_000,
        b"From: " + b"<" * 500_000,
        b"From: " + b"a " * 300_000,
        b"From: " + b"=?" * 300_000,
        b"References: " + b"<" * 1_000_000,
        b"References: " + b"<a@b> " * 200_000,
        b"Date: " + b"1 " * 500_000,
        b"Content-Type: text/html\n\n" + b"<div>" * 200_000,
        b"Content-Type: text/html\n\n" + b"<blockquote>" * 100_000 + b"x",
        b"Content-Type: text/html\n\n" + b"<p style='font-size:0'>" * 30_000 + b"x",
        b"Content-Type: text/plain; charset=utf-7\n\n" + b"+" * 1_000_000,
        b"Content-Transfer-Encoding: base64\n\n" + b"=" * 1_000_000,
        b"Content-Transfer-Encoding: base64\n\n" + b"\n" * 1_000_000,
        b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n" + b"~\n" * 200_000,
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 20_000,
        b"\xe9" * 2_000_000,
        b"\n" * 2_000_000,
    ],
    ids=lambda raw: raw[:60].decode("latin-1").encode("ascii", "replace").decode().replace("\n", "|"),
)
@pytest.mark.slow
def test_hostile_message_takes_seconds_at_most(raw: bytes) -> None:
    begin = time.process_time()
    assert is_clean(parse_message(raw))
    assert time.process_time() - begin < 8
