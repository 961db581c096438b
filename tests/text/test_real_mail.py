"""Every mail of the shared corpora. Nothing of them is quoted here."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vaultembed.text.embeddable.prepare import prepare_text
from vaultembed.text.mime.identity import content_hash
from vaultembed.text.mime.mime import parse_message

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not DATA.is_dir(), reason="the shared corpora are not beside this checkout"),
]

MBOX_LINE = re.compile(rb"(?m)^From [^\n]*\d\d:\d\d:\d\d[^\n]*\n(?=[A-Za-z-]+:)")


def mails(folder: str) -> Iterator[bytes]:
    for path in sorted((DATA / folder).rglob("*")):
        if not path.is_file():
            continue
        if folder.startswith("mbox"):
            yield from MBOX_LINE.split(path.read_bytes())[1:]
        else:
            yield path.read_bytes()


@pytest.mark.parametrize(
    "folder",
    [
        "mbox/r-announce",
        "mbox/cypherpunks",
        "mbox/r-sig-geo",
        "eml/spamassassin",
        "eml/mime4j",
        "eml/ruby-mail",
        "maildir",
        "quotes",
    ],
)
def test_every_real_mail_is_read_and_prepared(folder: str) -> None:
    seen = dateless = wordless = 0
    for raw in mails(folder):
        parsed = parse_message(raw)
        prepared = prepare_text(parsed.subject, parsed.body_text)
        people = [one.person for one in parsed.recipients] + ([parsed.sender] if parsed.sender else [])
        names = [one.filename for one in parsed.attachments] + [one.address + one.name for one in people]
        text = "".join([parsed.subject, parsed.body_text, prepared, *parsed.labels, *parsed.references, *names])
        text.encode("utf-8")
        assert "\0" not in text
        assert len(content_hash(raw)) == 16
        seen += 1
        dateless += parsed.sent_at is None
        wordless += not prepared
    assert seen
    if folder.startswith(("mbox", "eml/spamassassin")):
        assert dateless * 100 < seen
        assert wordless * 100 < seen


def test_damaged_real_mail_is_read_too() -> None:
    chance = random.Random(7)
    originals = chance.sample(list(mails("eml")), 300)
    for raw in originals:
        damaged = bytearray(raw[:20_000])
        for _ in range(chance.randrange(1, 40)):
            position = chance.randrange(len(damaged) or 1)
            change = chance.randrange(4)
            if change == 0:
                damaged[position : position + 1] = bytes([chance.randrange(256)])
            elif change == 1:
                del damaged[position : position + chance.randrange(1, 200)]
            elif change == 2:
                damaged[position:position] = damaged[position : position + chance.randrange(1, 200)]
            else:
                damaged[position:position] = chance.choice(
                    [b"\n\n", b"\0", b'"', b"=?", b"--", b"\xff", b";", b"<blockquote>"]
                )
        parsed = parse_message(bytes(damaged))
        prepare_text(parsed.subject, parsed.body_text).encode()


# Where mime4j and the standard library read broken structure differently, and either is defensible: a header
# without an end, and boundaries that differ in white space at their end.
READ_OTHERWISE = frozenset(
    ["malformedHeaderStartsBody-nocrlfcrlf", "very-long-boundary", "very-very-long-boundary", "weird-boundary"]
)


@pytest.mark.parametrize("source", sorted((DATA / "eml/mime4j/testmsgs").glob("*.msg")), ids=lambda path: path.stem)
def test_text_parts_decode_as_another_reader_decodes_them(source: Path) -> None:
    """mime4j's decoded text/plain parts, where it says the charset, stand in our text word for word."""
    if source.stem in READ_OTHERWISE:
        pytest.skip("another reading of broken structure")
    body = "".join(parse_message(source.read_bytes()).body_text.split())
    structure = source.with_name(f"{source.stem}_decoded.xml")
    if not body or not structure.exists():
        pytest.skip("nothing to compare")
    first = re.search(r'<text-body name="([^"]+)"', structure.read_text("latin-1"))
    if first is None:
        pytest.skip("no text part")
    expected = source.with_name(first[1])
    if not expected.exists():
        pytest.skip("no decoded part")
    raw = expected.read_bytes()
    for codec in ("utf-8", "cp1252", "latin-1"):
        try:
            theirs = "".join(raw.decode(codec).replace("\0", "").split())
            break
        except UnicodeDecodeError:
            continue
    ascii_only = re.compile(r"[^\x21-\x7e]")
    assert ascii_only.sub("", theirs)[:200] in ascii_only.sub("", body) or "<" in theirs


# ---- quotes: shares over the talon and mail-parser-reply sets ----------------------------------------------


def quoted_and_own(text: str) -> tuple[set[str], set[str]]:
    """Words that stand only in ">" lines, and words of the lines above the first of them or its attribution."""
    lines = text.split("\n")
    first = next((n for n, line in enumerate(lines) if line.startswith(">")), None)
    if first is None:
        return set(), set()
    above = "\n".join(lines[:first]).rstrip().rsplit("\n\n", 1)[0]
    own = set(re.findall(r"\w{3,}", above))
    others = set(re.findall(r"\w{3,}", "\n".join(line for line in lines if not line.startswith(">"))))
    return set(re.findall(r"\w{3,}", "\n".join(line for line in lines if line.startswith(">")))) - others, own


def test_own_words_are_kept_and_quoted_ones_dropped() -> None:
    kept = own_words = left = quoted_words = 0
    for path in sorted((DATA / "quotes").rglob("*")):
        if not path.is_file() or path.suffix not in {".txt", ".eml"}:
            continue
        body = parse_message(path.read_bytes()).body_text if path.suffix == ".eml" else path.read_text("utf-8")
        quoted, own = quoted_and_own(body)
        prepared = set(re.findall(r"\w{3,}", prepare_text("Re: x", body)))
        kept += len(own & prepared)
        own_words += len(own)
        left += len(quoted & prepared)
        quoted_words += len(quoted)
    # What is not kept are names and greetings of signatures, and attributions that stand above their quote.
    print(f"own words kept {kept}/{own_words}, quoted words left {left}/{quoted_words}")
    assert quoted_words > 500
    assert left < 0.02 * quoted_words
    assert kept > 0.8 * own_words
