"""The From_ line in the shapes real mailboxes have it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vaultembed.sources.from_line import parse_from_line

NOON = int(datetime(2012, 2, 13, 12, 0, 5, tzinfo=UTC).timestamp())
NOON_SHARP = NOON - 5


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"From pd.mes at cbs.dk  Mon Feb 13 12:00:05 2012", NOON),
        (b"From joe@example.org Mon Feb 13 12:00:05 2012", NOON),
        (b"From - Mon Feb 13 12:00:05 2012", NOON),
        (b"From ???@??? Mon Feb 13 12:00:05 2012", NOON),
        (b"From 1234567@xxx Mon Feb 13 12:00:05 +0000 2012", NOON),
        (b"From 1234567@xxx Mon Feb 13 13:00:05 +0100 2012", NOON),
        (b"From joe@example.org Mon Feb 13 07:00:05 EST 2012", NOON),
        (b"From joe@example.org Mon Feb 13 07:00:05 2012 -0500", NOON),
        (b"From joe Mon Feb 13 12:00 2012", NOON_SHARP),
        (b"From joe Mon Feb 13 12:00 GMT 2012 remote from uunet", NOON_SHARP),
        (b"From joe@example.org Mon, 13 Feb 2012 13:00:05 +0100", NOON),
        (b"From joe@example.org Mon, 13 Feb 2012 12:00:05 +0000 (UTC)", NOON),
        (b"From joe@example.org 2012-02-13 12:00:05", NOON),
        (b"From joe@example.org 2012-02-13T12:00:05Z", NOON),
        (b"From joe@example.org Mon Feb 13 12:00:05 12", NOON),
        (b'From "Joe of Example" <joe@example.org> Mon Feb 13 12:00:05 2012', NOON),
        (b"From  Mon Feb 13 12:00:05 2012", NOON),
        (b"From joe@example.org Mon Feb 13 12:00:05 XYZ 2012", NOON),
    ],
)
def test_date_of_a_from_line_is_read_as_utc(line: bytes, expected: int) -> None:
    parsed = parse_from_line(line)
    assert parsed is not None
    assert parsed.dated
    assert parsed.delivered_at == expected


@pytest.mark.parametrize(
    "line",
    [
        b"From joe@example.org Thu Jan  1 00:00:00 1970",
        b"From joe@example.org Mon Feb 33 12:00:05 2012",
        b"From joe@example.org Mon Feb 13 29:00:05 2012",
        b"From joe@example.org lun f\xe9vr. 13 12:00:05 2012",
    ],
)
def test_date_that_cannot_be_true_or_read_leaves_a_from_line_without_time(line: bytes) -> None:
    parsed = parse_from_line(line)
    assert parsed is not None
    assert parsed.dated
    assert parsed.delivered_at is None


@pytest.mark.parametrize("line", [b"From ", b"From joe@example.org", b"From -"])
def test_line_without_date_is_marked_so(line: bytes) -> None:
    parsed = parse_from_line(line)
    assert parsed is not None
    assert not parsed.dated


@pytest.mark.parametrize(
    "line",
    [
        b"From what I see, it works.",
        b"From 12:30 to 14:00 we are out",
        b"from joe@example.org Mon Feb 13 12:00:05 2012",
        b"From: joe@example.org",
        b">From joe@example.org Mon Feb 13 12:00:05 2012",
        b"From " + b"x" * 600 + b" Mon Feb 13 12:00:05 2012",
    ],
)
def test_other_lines_are_not_from_lines(line: bytes) -> None:
    assert parse_from_line(line) is None


def test_sentence_that_ends_in_a_date_has_no_plain_sender() -> None:
    parsed = parse_from_line(b"From what I wrote you on Mon Feb 13 12:00:05 2012")
    assert parsed is not None
    assert not parsed.plain_sender
