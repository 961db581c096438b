"""The bundled mailbox is what the demo says it is: motley, well-formed as an mbox, and searchable by meaning only."""

from __future__ import annotations

import mailbox
import re
from collections import Counter
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import Message

import apsw
import pytest

from tests.fixtures import make_sample_mailbox
from vaultembed.sample import DEMO_QUERIES, DemoQuery, sample_path
from vaultembed.text.mime.identity import content_hash

TWICE = "<553BE04E.7010203@poczta.example.org>"
LONG = "<20030311111620.GA1302@heatherbank.example.org>"
GARBLED = "<brulerie-10442@brulerie-port.example.com>"
UNDECLARED = "<54D0AA0F.90201@poczta.example.org>"
UNCLOSED = "<20151210-tempete@port-bas.example.net>"


@pytest.fixture(scope="module")
def messages() -> Iterator[list[Message]]:
    box = mailbox.mbox(sample_path(), create=False)
    yield list(box)
    box.close()


def header(message: Message, name: str) -> str:
    return str(make_header(decode_header(message.get(name, ""))))


def visible_text(message: Message) -> str:
    """Every text part, decoded as declared (HTML with its tags and hidden text: more words, not fewer)."""
    texts = []
    for part in message.walk():
        if part.get_content_maintype() == "text":
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            texts.append(data.decode(part.get_content_charset("ascii"), "replace"))
    return "\n".join(texts)


def everything(message: Message) -> str:
    """All that text search could match: subject, people, file names, text."""
    names = [part.get_filename() or "" for part in message.walk()]
    people = [header(message, name) for name in ("From", "To", "Cc", "Bcc")]
    return "\n".join([header(message, "Subject"), *people, *names, visible_text(message)])


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def by_id(messages: list[Message], message_id: str) -> list[Message]:
    return [message for message in messages if message["Message-ID"] == message_id]


def test_the_mailbox_is_what_the_generator_makes_of_the_texts() -> None:
    assert sample_path().read_bytes() == make_sample_mailbox.mailbox()


def test_every_separator_is_a_from_line_after_an_empty_line() -> None:
    data = sample_path().read_bytes()
    assert data.endswith(b"\n\n")
    assert b"\r" not in data
    for separator in re.finditer(rb"(?m)^From .*", data):
        assert separator.start() == 0 or data[: separator.start()].endswith(b"\n\n")
        assert re.fullmatch(
            rb"From \S+@\S+ (Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (19|20)\d\d",
            separator[0],
        )


def test_a_body_line_that_begins_with_from_is_quoted() -> None:
    assert b"\n>From where I sit" in sample_path().read_bytes()


def test_it_stays_small_enough_to_travel_in_the_wheel() -> None:
    assert sample_path().stat().st_size < 200_000


def test_every_address_and_link_lies_in_a_domain_kept_for_examples(messages: list[Message]) -> None:
    texts = [str(message) + everything(message) for message in messages]
    hosts = {host for text in texts for host in re.findall(r"(?:\w@|://)([A-Za-z][\w-]*\.[\w.-]*\w)", text)}
    assert len(hosts) > 20
    assert {host for host in hosts if not re.search(r"(^|\.)example\.(org|com|net)$", host)} == set()


def test_it_holds_77_messages_in_order_of_delivery(messages: list[Message]) -> None:
    assert len(messages) == 77
    years = [int(message["Date"].split()[3]) for message in messages]
    assert years == sorted(years)
    assert (years[0], years[-1]) == (1998, 2024)


def test_replies_point_at_messages_that_are_there(messages: list[Message]) -> None:
    ids = {message["Message-ID"] for message in messages}
    parents = {message["Message-ID"]: message["In-Reply-To"] for message in messages}
    assert {parent for parent in parents.values() if parent} <= ids

    def root(message_id: str) -> str:
        return root(parents[message_id]) if parents[message_id] else message_id

    sizes = Counter(root(message_id) for message_id in ids)
    threads = sorted((size for size in sizes.values() if size > 1), reverse=True)
    assert threads == [5] * 2 + [3] * 6 + [2] * 8


def test_it_speaks_ten_languages_beside_english(messages: list[Message]) -> None:
    declared = Counter(message.get("Content-Language", "en") for message in messages)
    assert set(declared) == {"en", "de", "fr", "es", "no", "nb", "pl", "pt", "ja", "ru", "zh-CN", "ko"}
    assert declared["en"] > len(messages) / 2


def test_it_uses_the_charsets_and_transfer_encodings_of_real_mail(messages: list[Message]) -> None:
    parts = [part for message in messages for part in message.walk() if not part.is_multipart()]
    charsets = {part.get_content_charset() for part in parts}
    assert charsets == {
        None, "us-ascii", "utf-8", "iso-8859-1", "iso-8859-2", "windows-1252", "koi8-r",
        "iso-2022-jp", "shift_jis", "euc-kr", "gb2312",
    }  # fmt: skip
    assert {part["Content-Transfer-Encoding"] for part in parts} == {
        None, "7bit", "8bit", "base64", "quoted-printable",
    }  # fmt: skip


def test_text_is_in_the_charset_it_declares(messages: list[Message]) -> None:
    for message in messages:
        if message["Message-ID"] != UNDECLARED:
            assert "\N{REPLACEMENT CHARACTER}" not in everything(message), message["Message-ID"]


def test_headers_are_encoded_words_in_both_forms(messages: list[Message]) -> None:
    head = b"\n".join(re.findall(rb"(?m)^Subject: .*(?:\n .*)*", sample_path().read_bytes()))
    assert {form.upper() for form in re.findall(rb"=\?[\w-]+\?([bqBQ])\?", head)} == {b"B", b"Q"}
    assert max(len(line) for line in head.splitlines() if b"=?" in line) <= 78 + len("Subject: ")
    assert header(by_id(messages, "<20000902121409.4A1.HARUKO@minase.example.net>")[0], "Subject") == (
        "潮の満ち引きについて"
    )


def test_attachment_names_come_in_all_their_spellings(messages: list[Message]) -> None:
    names = {str(make_header(decode_header(name))) for m in messages for p in m.walk() if (name := p.get_filename())}
    assert {
        "Merkblatt Zeiterfassung für Gezeitenabhängige (endgültig, Fassung 7).txt",
        "Nota de liquidação 2017.pdf",
        "lista de mãos e pés.csv",
        "wedding.ics",
    } <= names


def test_one_message_stands_there_twice_with_different_transport_headers(messages: list[Message]) -> None:
    counts = Counter(message["Message-ID"] for message in messages)
    assert {message_id for message_id, count in counts.items() if count > 1} == {TWICE}
    first, second = by_id(messages, TWICE)
    assert first["Received"] != second["Received"]
    assert first["X-Mozilla-Status"] != second["X-Mozilla-Status"]


def test_the_message_that_stands_twice_is_one_by_content_and_no_others_are() -> None:
    box = mailbox.mbox(sample_path(), create=False)
    hashes = [(content_hash(box.get_bytes(key)), box[key]["Message-ID"]) for key in box.iterkeys()]
    box.close()
    assert len(set(hashes)) == len({digest for digest, _ in hashes}) == len(hashes) - 1
    assert Counter(hashes).most_common(1)[0][0][1] == TWICE


def test_one_message_is_garbled_the_way_it_was_sent(messages: list[Message]) -> None:
    text = visible_text(by_id(messages, GARBLED)[0])
    assert "cafÃ©" in text
    assert "café « Tempête »" in text.encode("cp1252").decode("utf-8")


def test_one_message_is_in_a_charset_it_does_not_declare(messages: list[Message]) -> None:
    data = by_id(messages, UNDECLARED)[0].get_payload(decode=True)
    assert isinstance(data, bytes)
    assert "założyła" in data.decode("cp1250")
    with pytest.raises(UnicodeDecodeError):
        data.decode("utf-8")


def test_one_message_never_closes_its_boundary(messages: list[Message]) -> None:
    broken = [m["Message-ID"] for m in messages if any(part.defects for part in m.walk())]
    assert broken == [UNCLOSED]


def test_one_message_is_empty(messages: list[Message]) -> None:
    assert [header(m, "Subject") for m in messages if not m.is_multipart() and not visible_text(m).strip()] == [
        "(ingen emne)"
    ]


def test_html_only_mail_hides_text_and_tracks_its_reader(messages: list[Message]) -> None:
    html_only = [visible_text(m) for m in messages if m.get_content_type() == "text/html"]
    assert len(html_only) == 2
    assert all("display:none" in text and "utm_source=" in text for text in html_only)


def test_labels_flags_lists_and_blind_copies_are_there(messages: list[Message]) -> None:
    kept = Counter(name for message in messages for name in {name.title() for name in message})
    for name in ("X-Gmail-Labels", "Status", "X-Mozilla-Status", "List-Id", "Bcc", "Cc"):
        assert kept[name] >= 2, name


def test_the_long_letter_makes_many_chunks_and_its_fact_lies_deep_inside(messages: list[Message]) -> None:
    letter = visible_text(by_id(messages, LONG)[0]).split()
    assert len(letter) >= 1_500
    fact = " ".join(letter).partition("So the daughter kept the light herself.")
    assert min(len(fact[0].split()), len(fact[2].split())) > 500


@pytest.mark.parametrize("query", DEMO_QUERIES, ids=lambda query: query.text)
def test_a_demo_query_shares_no_word_with_what_it_finds(query: DemoQuery, messages: list[Message]) -> None:
    (target,) = by_id(messages, f"<{query.finds}>")
    assert not words(query.text) & words(everything(target))


@pytest.mark.parametrize("query", DEMO_QUERIES, ids=lambda query: query.text)
def test_no_message_has_even_a_word_stem_of_a_demo_query(query: DemoQuery, messages: list[Message]) -> None:
    index = apsw.Connection(":memory:")
    index.execute("CREATE VIRTUAL TABLE fts USING fts5(text, tokenize='porter unicode61 remove_diacritics 2')")
    index.executemany("INSERT INTO fts VALUES (?)", [(everything(message),) for message in messages])

    def found(any_of: set[str]) -> list[object]:
        asked = " OR ".join(f'"{word}"' for word in any_of)
        return list(index.execute("SELECT rowid FROM fts WHERE fts MATCH ?", (asked,)))

    assert found(words(query.text)) == []
    assert found({"bicycles", "cat", "keepers"}) != []
    index.close()
