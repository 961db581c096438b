from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultembed.text.mime.identity import content_hash, normalise_message_id

MAIL = (
    b"Message-ID: <1@example.org>\nDate: Mon, 2 Jul 2012 10:48:29 +0900\nFrom: Ann <ann@example.org>\n"
    b"To: b@example.org,\n c@example.org\nSubject: Hello\n  there\n\nFirst line\nFrom here on\n\nlast  \n"
)


def test_canonical_form_1_never_changes() -> None:
    # If this fails, archives in the world stop recognising their messages. Do not update the value.
    assert content_hash(MAIL).hex() == "e35ffedcf0875fe21f8320a7acb960a1"


@pytest.mark.parametrize(
    "copy",
    [
        MAIL.replace(b"\n", b"\r\n"),
        MAIL.replace(b"\nFrom here", b"\n>From here"),
        MAIL.replace(b"\nFrom here", b"\n>>From here"),
        MAIL + b"\n\n \n",
        MAIL.replace(b"last  ", b"last"),
        b"Received: from x by y; Mon, 2 Jul 2012\nStatus: RO\n" + MAIL,
        MAIL.replace(b"\n\nFirst", b"\nX-Status: A\nX-Mozilla-Keys:\n\nFirst"),
        MAIL.replace(b"Subject: Hello\n  there", b"SUBJECT:   Hello\tthere "),
        MAIL.replace(b",\n c@", b",\n\tc@"),
        b"From ann@example.org Mon Jul  2 10:48:29 2012\n" + MAIL,
    ],
)
def test_copies_in_inbox_mbox_and_maildir_are_one_message(copy: bytes) -> None:
    assert content_hash(copy) == content_hash(MAIL)


@pytest.mark.parametrize(
    "other",
    [
        MAIL.replace(b"1@", b"2@"),
        MAIL.replace(b"First", b"first"),
        MAIL.replace(b"Hello", b"Hallo"),
        MAIL.replace(b"c@", b"d@"),
        MAIL.replace(b"10:48:29", b"10:48:30"),
        MAIL.replace(b"To:", b"Cc:"),
        MAIL.replace(b"First line\n", b"First line\n\n"),
    ],
)
def test_another_message_is_another(other: bytes) -> None:
    assert content_hash(other) != content_hash(MAIL)


@given(st.binary(max_size=300))
def test_any_bytes_have_an_identity_that_line_ends_do_not_change(raw: bytes) -> None:
    unix = raw.replace(b"\r", b"")
    assert len(content_hash(raw)) == 16
    assert content_hash(unix) == content_hash(unix.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("<a@b>", "a@b"),
        (" <a@b> (comment)", "a@b"),
        ("a@b", "a@b"),
        ("<a\n @b>", "a@b"),
        ("<A@b>", "A@b"),
        ("<>", None),
        (" ", None),
    ],
)
def test_message_ids_are_compared_without_brackets_and_folding(raw: str, expected: str | None) -> None:
    assert normalise_message_id(raw) == expected


def test_text_without_a_header_is_all_body() -> None:
    assert content_hash(b"All about cats.\nMore.\n") != content_hash(b"All about dogs.\nMore.\n")
    assert content_hash(b"One\n\nsame") != content_hash(b"Two\n\nsame")


def test_a_body_that_follows_its_header_without_an_empty_line_counts() -> None:
    assert content_hash(b"Subject: x\nfirst line\n") != content_hash(b"Subject: x\nother line\n")


def test_the_declared_charset_is_part_of_what_a_message_is() -> None:
    one = b"Subject: x\nContent-Type: text/plain; charset=koi8-r\n\n\xc1\n"
    assert content_hash(one) != content_hash(one.replace(b"koi8-r", b"cp1251"))
