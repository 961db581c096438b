from __future__ import annotations

import base64
import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultembed.message import ParsedMessage, Person
from vaultembed.text.mime.mime import labels_in_header, parse_message


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
        ("ann at example.org (Ann B.)", [("ann@example.org", "Ann B.")]),
        ("Ann <ann dot b at example dot org>", [("ann.b@example.org", "Ann")]),
        ("ann (at) example.org, bob[at]example[dot]org (Bob)", [("ann@example.org", ""), ("bob@example.org", "Bob")]),
        ("ann(a)example.org (Ann)", [("ann@example.org", "Ann")]),
        ('"Help at example.org" <h@example.org>', [("h@example.org", "Help at example.org")]),
        ("an@|b @end|ng |rom gm@||@com (Ann B)", [("an@|b @end|ng |rom gm@||@com", "Ann B")]),
        ("an@b @ending from ex@mple@org (Ann B)", [("an@b @ending from ex@mple@org", "Ann B")]),
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
        ("Mon, 2 Jul 2012 02:48:29 + 0100", 1341193709, 60),
        ("2 Jul 01:48:29 - 2012", 1341193709, None),
        ("2012, 02 Jul 01:48:29 GMT", 1341193709, 0),
        ("=?utf-8?q?Mon=2C_2_Jul_2012_01=3A48=3A29_GMT?=", 1341193709, 0),
        ("4 août 2014 10:00:00 +0000", 1407146400, 0),
        ("4 aou\u0302t 2014 10:00:00 +0000", 1407146400, 0),
        ("4 Mär 2014 10:00:00 +0000", 1393927200, 0),
        ("4 paź 2014 10:00:00 +0000", 1412416800, 0),
        ("сб, 4 окт 2014 10:00:00 +0000", 1412416800, 0),
    ],
)
def test_dates_of_real_clients_are_read(date: str, seconds: int, zone: int | None) -> None:
    parsed = parse_message(mail(f"Date: {date}"))
    assert (parsed.sent_at, parsed.zone_minutes) == (seconds, zone)
    assert "bad-date" not in kinds(parsed)


@pytest.mark.parametrize(
    "date",
    [
        "yesterday",
        "Mon, 30 Jun 3609 15:33:50 +0600",
        "Thu, 1 Jan 1970 00:00:00 +0000",
        "-1",
        "99:99",
        "Mon, 2 Jul 2012 25:61:61 +9999",
        "Mon, 2 Jul 2012 10:61:00",
        "version 8, 04 Mar",
    ],
)
def test_impossible_date_gives_way_to_the_earliest_received_then_to_delivery(date: str) -> None:
    received = (
        "Received: from a by b; Tue, 3 Jul 2012 01:48:29 GMT",
        "Received: from c by a; Mon, 2 Jul 2012 01:48:29 GMT",
    )
    parsed = parse_message(mail(f"Date: {date}", *received))
    assert parsed.sent_at == 1341193709
    assert "bad-date" in kinds(parsed)
    # an mbox written by a mail program has the day on which it stored the message
    assert parse_message(mail(f"Date: {date}", *received), delivered_at=1_700_000_000).sent_at == 1341193709
    assert parse_message(mail(f"Date: {date}"), delivered_at=7_000_000).sent_at == 7_000_000


@pytest.mark.parametrize(
    "received",
    [
        "; Thu Oct 28 17:00:38 2004 -0400",
        "from a by b; 28 Oct 2004 17:00:38 -0400",
        "from a;\n\tThu, 28 Oct 2004 21:00:38 GMT (UTC)",
    ],
)
def test_received_fields_of_every_dialect_are_read(received: str) -> None:
    assert parse_message(mail(f"Received: {received}"), delivered_at=1_700_000_000).sent_at == 1098997238


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


def test_tags_of_thunderbird_are_labels_under_the_names_that_it_shows() -> None:
    raw = mail("X-Mozilla-Keys: $label1 boat_trip NonJunk $Forwarded $label4                       ")
    assert parse_message(raw).labels == ("Important", "boat_trip", "To Do")
    assert labels_in_header(raw) == ("Important", "boat_trip", "To Do")


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


GREETING = base64.encodebytes("Grüße an alle.\n".encode()).decode()
LETTER = base64.encodebytes(("Grüße an alle, und noch viel mehr davon.\n" * 5).encode()).decode()


@pytest.mark.parametrize(
    "footer",
    [
        "_______________________\nmy list\nhttp://x.org",
        "--~--~---------~--~----~\nYou received this message because you are subscribed",
        "########\n\nTo unsubscribe from the LIST list, click the following link",
        "To unsubscribe, write to group-unsubscribe@example.org",
        "unsubscribe",
        "This mail is virus free.\nwww.example.org",
    ],
)
@pytest.mark.parametrize("gap", ["", "\n"])
@pytest.mark.parametrize("letter", [GREETING, LETTER, LETTER.replace("\n", "\n\n")])
def test_text_behind_base64_is_text(letter: str, gap: str, footer: str) -> None:
    parsed = parse_message(
        mail("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64", body=letter + gap + footer)
    )
    text, _, behind = parsed.body_text.rstrip().rpartition("\n\n" + footer)
    assert set(text.splitlines()) <= {"Grüße an alle.", "Grüße an alle, und noch viel mehr davon."}
    assert len(text.splitlines()) == (1 if letter is GREETING else 5)
    assert (behind, parsed.problems) == ("", ())


def test_text_behind_base64_does_not_change_the_charset_of_what_is_encoded() -> None:
    body = GREETING.encode() + b"\nAbmelden: schlie\xdfen Sie sich nicht an"
    parsed = parse_message(
        mail("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64", body=body)
    )
    assert parsed.body_text == "Grüße an alle.\n\nAbmelden: schließen Sie sich nicht an"


@pytest.mark.parametrize(
    "encoding",
    [
        "base64 some text",
        "x-base64",
        "BASE-64",
        '"base64";',
        "base64 (mime)",
        "7bit",
        "",
        "8bit\nContent-Transfer-Encoding: base64",
    ],
)
def test_base64_is_decoded_however_it_is_declared(encoding: str) -> None:
    for letter in (GREETING, LETTER, LETTER + "\n[[a part deleted]]\n"):
        raw = mail("Content-Type: text/plain; charset=utf-8", f"Content-Transfer-Encoding: {encoding}", body=letter)
        parsed = parse_message(raw)
        assert (parsed.body_text[:9], parsed.problems) == ("Grüße an ", ()), encoding


@pytest.mark.parametrize(
    "encoding", ["quoted_printable", "quoted printable", "x-quoted-printable;", "'Quoted-Printable'"]
)
def test_quoted_printable_is_decoded_however_it_is_declared(encoding: str) -> None:
    raw = mail(
        "Content-Type: text/plain; charset=utf-8", f"Content-Transfer-Encoding: {encoding}", body="Gr=C3=BC=C3=9Fe"
    )
    assert parse_message(raw).body_text == "Grüße"


def test_text_declared_as_base64_stands_as_it_is() -> None:
    text = "This is plain text marked as base64, zebra.\nWith a second line"
    parsed = parse_message(mail("Content-Transfer-Encoding: base64", body=text))
    assert parsed.body_text == text
    assert kinds(parsed) == {"broken-base64"}


@pytest.mark.parametrize(
    "text",
    [
        "b3BlbiBzZXNhbWUK and then some",  # words follow
        "c2hhMjU2LW9mLXNvbWV0aGluZw",  # short
        base64.b64encode(bytes(range(90))).decode(),  # a file or a key
        "d41d8cd98f00b204e9800998ecf8427ed41d8cd98f00b204e9800998ecf8427e",
        "Donaudampfschifffahrtsgesellschaftskapitaen",
    ],
)
def test_what_looks_like_base64_and_says_nothing_stands_as_it_is(text: str) -> None:
    assert parse_message(mail("Subject: x", body=text)).body_text == text


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/mixed; boundary="----=_Next_1',  # the quote is not closed
        'multipart/mixed\n\tboundary="----=_Next_1"',  # no semicolon
        'multipart/mixed; boundary="----=_\n Next_1"',  # folded
        "multipart/mixed",
        "multipart/mixed; boundary=another",
    ],
)
def test_the_boundary_is_the_one_that_the_body_has(content_type: str) -> None:
    body = (
        "preamble\n------=_Next_1\nContent-Type: text/plain; charset=utf-8\n\nGrüße\n"
        "------=_Next_1\nContent-Type: application/pdf; name=a.pdf\n\nx\n------=_Next_1--\n"
    )
    for raw in (
        mail(f"Content-Type: {content_type}", body=body),
        mail(
            f"Content-Type: {content_type}", "Content-Transfer-Encoding: base64", body=base64.encodebytes(body.encode())
        ),
    ):
        parsed = parse_message(raw)
        assert (parsed.body_text, [one.filename for one in parsed.attachments]) == ("Grüße", ["a.pdf"])
        assert parsed.problems == ()


def test_a_multipart_without_any_boundary_is_text() -> None:
    parsed = parse_message(mail("Content-Type: multipart/mixed; boundary=x", body="a letter\n-- \nAnn"))
    assert parsed.body_text == "a letter\n-- \nAnn"
    assert kinds(parsed) == {"missing-boundary"}


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


def parts(*texts: str, kind: str = "mixed") -> bytes:
    body = "".join(f"--x\n{text}\n" for text in texts) + "--x--\n"
    return mail(f"Content-Type: multipart/{kind}; boundary=x", body=body)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (parts("\none", "\ntwo", "\none", kind="alternative"), "one\n\ntwo"),
        (mail("Content-Type: text/plain; name=README", body="the only text"), "the only text"),
        (mail("Content-Type: text/plain", "Content-Disposition: attachment", body="the only text"), "the only text"),
        (
            parts("\nsee", "Content-Type: application/octet-stream; name=old.eml\n\nSubject: inner\n\nwalrus"),
            "see\n\n---------- Forwarded message ----------\nSubject: inner\n\nwalrus",
        ),
        (
            parts("\nsee", "Content-Type: message/rfc822; name=old.eml\nContent-Transfer-Encoding: base64\n\n"
                  + base64.b64encode(b"Subject: inner\n\nwalrus").decode()),
            "see\n\n---------- Forwarded message ----------\nSubject: inner\n\nwalrus",
        ),
        (
            parts("\nCome.", "Content-Type: text/calendar\n\nSUMMARY:Chess\nLOCATION:Come.\nDESCRIPTION:A\\nB"),
            "Come.\n\nChess\nA\nB",
        ),
        (
            parts("\nIt failed.", "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n"
                  "Final-Recipient: rfc822; ann@example.org\nDiagnostic-Code: smtp; 550",
                  "Content-Type: text/rfc822-headers\n\nReceived: x\nSubject: the boat", kind="report"),
            "It failed.\n\nFinal-Recipient: rfc822; ann@example.org\nDiagnostic-Code: smtp; 550\n\nSubject: the boat",
        ),
        (
            parts("\nb { color: red; margin: 0 }\n.a { width: 10px }\nHello", "Content-Type: text/html\n\n<p>Hi you",
                  kind="alternative"),
            "Hi you",
        ),
        (
            parts("\n<div><b>Hello</b></div>", "Content-Type: text/html\n\n<p>Hello you", kind="alternative"),
            "Hello you",
        ),
        (
            parts("\nUse <b>x</b> and {a: 1} in it, as it is said below, at length.",
                  "Content-Type: text/html\n\n<p>Use &lt;b&gt;x", kind="alternative"),
            "Use <b>x</b> and {a: 1} in it, as it is said below, at length.",
        ),
    ],
)  # fmt: skip
def test_the_text_is_found_where_programs_put_it(raw: bytes, expected: str) -> None:
    parsed = parse_message(raw)
    assert (parsed.body_text, parsed.problems) == (expected, ())


def test_a_file_with_an_enclosed_message_keeps_its_bytes_when_its_text_is_read() -> None:
    inner = "Subject: inner\nContent-Transfer-Encoding: 8bit\n\nwalrus"
    parsed = parse_message(parts("\nsee", f"Content-Type: message/rfc822; name=old.eml\n\n{inner}"))
    assert parsed.attachments[0].size == len(inner)


# ContentInfo of signedData whose eContent is one OCTET STRING, in one piece and in two; X.690 and RFC 5652
_SIGNED = bytes.fromhex("3080 06092a864886f70d010702 a080 3080 020101 3100 3080 06092a864886f70d010701")
_INNER = b"Content-Type: text/plain; charset=utf-8\n\nSigned ibis text, gr\xc3\xbc\xc3\x9fe"


@pytest.mark.parametrize(
    "content",
    [
        b"\xa0\x80\x04" + bytes([len(_INNER)]) + _INNER,
        b"\xa0\x80\x24\x80\x04\x0a" + _INNER[:10] + b"\x04\x81" + bytes([len(_INNER) - 10]) + _INNER[10:] + bytes(6),
    ],
)
def test_the_text_inside_of_a_signature_is_read(content: bytes) -> None:
    body = base64.encodebytes(_SIGNED + content)
    parsed = parse_message(
        mail("Content-Type: application/pkcs7-mime; name=smime.p7m", "Content-Transfer-Encoding: base64", body=body)
    )
    assert (parsed.body_text, parsed.problems) == ("Signed ibis text, grüße", ())


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("application/pkcs7-mime; name=smime.p7m", _SIGNED + b"broken"),
        ("application/pkcs7-mime; name=smime.p7m", _SIGNED[:40]),
        ("application/ms-tnef; name=winmail.dat", b"x\x9f>\x22"),
    ],
)
def test_text_in_a_form_that_is_not_read_is_a_problem(field: str, content: bytes) -> None:
    body = base64.encodebytes(content)
    parsed = parse_message(mail(f"Content-Type: {field}", "Content-Transfer-Encoding: base64", body=body))
    assert (parsed.body_text, kinds(parsed)) == ("", {"unread-text"})


def test_attachments_beyond_the_limit_are_a_problem() -> None:
    parsed = parse_message(parts(*(f"Content-Type: application/pdf; name={n}.pdf\n\nx" for n in range(1001))))
    assert (len(parsed.attachments), kinds(parsed)) == (1000, {"attachments-left-out"})


@pytest.mark.parametrize(
    ("field", "html", "inline"),
    [
        ("image/png\nContent-ID: <logo@x>", '<img src="cid:logo@x">', True),
        ("image/png\nContent-ID: <a%b@x>", "<img src=cid:a%25b@x>", True),
        ("image/png\nContent-Location: logo.png", "<td background='logo.png'>", True),
        ("image/png\nContent-ID: <logo@x>", "<p style='background: url(cid:logo@x)'>", True),
        ("image/jpeg; name=IMG_1.jpg\nContent-Disposition: inline", "<p>see", False),
        ("image/jpeg; name=IMG_1.jpg\nContent-ID: <photo@x>", "<p>see", False),
        ("application/pdf; name=a.pdf\nContent-Disposition: inline\nContent-ID: <a@x>", "<a href='cid:a@x'>", False),
        ("application/pgp-signature; name=signature.asc", "<p>see", True),
        ("application/pkcs7-signature; name=smime.p7s", "<p>see", True),
    ],
)
def test_a_picture_in_the_text_and_a_signature_are_no_files(field: str, html: str, inline: bool) -> None:
    page = f"Content-Type: text/html\n\n{html}"
    plain = "see it " * 99
    for body in (page, f"Content-Type: multipart/alternative; boundary=y\n\n--y\n\n{plain}\n--y\n{page}\n--y--"):
        parsed = parse_message(parts(body, f"Content-Type: {field}\n\ndata"))
        assert [one.inline for one in parsed.attachments] == [inline]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["Message-ID: =?utf-8?q?=3Ca=40x=2Eorg=3E?="], ("a@x.org", None, ())),
        (["In-Reply-To: =?utf-8?q?=3Ca=40x?=\n =?utf-8?q?=2Eorg=3E?="], (None, "a@x.org", ())),
        (
            ["References: <z@x> =?utf-8?q?=3Ca=40x=2Eorg=3E_=3Cb=40x?=\n =?utf-8?q?=2Eorg=3E?="],
            (None, None, ("z@x", "a@x.org", "b@x.org")),
        ),
        (["Message-ID: null", "In-Reply-To: <yes>", "References: <noreply> <>"], (None, None, ())),
        (["To: Bo <bo@x.org>", "In-Reply-To: <Bo@x.org>", "References: <a@x> <bo@x.org>"], (None, None, ("a@x",))),
        (["From: Bo <bo@x.org>", "Message-ID: <bo@x.org>"], (None, None, ())),
        (["Message-ID: <a@x>", "In-Reply-To: <a@x>", "References: <b@x> <a@x>"], ("a@x", None, ("b@x",))),
        (["Message-ID: <=?q?@x>"], ("=?q?@x", None, ())),
    ],
)
def test_ids_are_those_of_messages(fields: list[str], expected: tuple[str | None, str | None, tuple[str, ...]]) -> None:
    parsed = parse_message(mail(*fields))
    assert (parsed.rfc822_message_id, parsed.in_reply_to, parsed.references) == expected


@pytest.mark.parametrize(
    ("charset", "data", "expected"),
    [
        ("iso-2022-jp", b"\x1b$B-!-\x22\x1b(B \x1b$B2q5D-j\x1b(B", "①② 会議㈱"),
        ("iso-2022-jp", b"\x1b$B|b66\x1b(B", "髙橋"),
        ("us-ascii", b"\x1b$B2q5D\x1b(B", "会議"),
        ("utf-8", b"\x1b$B2q5D\x1b(B", "会議"),
        ("_iso-2022-jp$ESC", b"\x1b$B2q5D\x1b(B", "会議"),
        ("iso-2022-kr", b"\x1b$)C\x0eGQ1[\x0f", "한글"),
        ("dos-850", b"gr\x81\xe1e", "grüße"),
        ("x-mac-ce", b"\x8aivot", "äivot"),
        ("koi8-ru", b"\xcd\xc9\xd2", "мир"),
    ],
)
def test_charsets_as_mail_programs_read_them(charset: str, data: bytes, expected: str) -> None:
    parsed = parse_message(mail(f"Content-Type: text/plain; charset={charset}", body=data))
    assert (parsed.body_text, parsed.problems) == (expected, ())


@pytest.mark.parametrize("charset", ["iso-2022-jp", "shift_jis", "euc-jp", "gb2312", "big5", "ks_c_5601-1987"])
@pytest.mark.parametrize("actual", ["utf-8", "cp932"])
def test_bytes_that_contradict_their_charset_win(charset: str, actual: str) -> None:
    text = "会議は金曜日です、よろしくお願いします"
    parsed = parse_message(mail(f"Content-Type: text/plain; charset={charset}", body=text.encode(actual)))
    if actual == "utf-8" or charset == "iso-2022-jp":
        assert (parsed.body_text, kinds(parsed)) == (text, {"wrong-charset"})
    elif charset == "shift_jis":
        assert (parsed.body_text, parsed.problems) == (text, ())


def test_short_chinese_text_that_is_utf_8_by_chance_is_not_taken_for_it() -> None:
    parsed = parse_message(mail("Content-Type: text/plain; charset=gb2312", body="联通".encode("gb18030")))
    assert (parsed.body_text, parsed.problems) == ("联通", ())


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
