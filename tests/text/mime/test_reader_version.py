"""What is read of mail changes with a version, by which archives are told of it."""

from __future__ import annotations

from hashlib import blake2b

from vaultembed.archive.mail.readings import as_stored, digests_of
from vaultembed.message import RawMessage
from vaultembed.sample import sample_path
from vaultembed.sources import SourceFile, read_mbox
from vaultembed.text.mime.mime import READER_VERSION, parse_message

ODD = (
    b"From joe at x dot org Mon Feb  3 10:00:00 2003\nSubject : x\nDate: 3 f\xc3\xa9vr. 2003 25:61:61\n\n> a\nb\n",
    b"""From: =?utf-8?q?J=C3=B6rg?= <j@x.org>
To: b@x.org
In-Reply-To: null
References: <a@x> b@x
Content-Type: text/html

<style>.h{display:none}</style><p>Seen<span class=h>not</span><blockquote>quoted</blockquote>""",
    b"""Subject: mixed
Content-Type: multipart/mixed; boundary=b
X-Mozilla-Keys: $label1 boat

--b

one
--b
Content-Type: application/pdf; name*=utf-8''%e2%82%ac.pdf
Content-Transfer-Encoding: base64

UERG
--b
Content-Type: message/rfc822

Subject: inner

two
--b--
""",
    b"Subject: \xb0\xa1\xb3\xaa\nContent-Transfer-Encoding: base64\nList-Id: a <b.c>\n\nSGVsbG8=\n-- footer\n",
    b"Subject: jp\nContent-Type: text/plain; charset=us-ascii\n\n\x1b$B-!F|K\\\x1b(B\n",
    b"Received: by x; Mon, 3 Feb 2003 10:00:00 +0100\nSender: list@x.org\nSubject: no date\n\nx\n",
)


def test_what_is_read_changes_with_the_version_alone() -> None:
    """Archives hold what an earlier version read. Whoever changes what is read raises `READER_VERSION`, so that the
    next import reads it again, and then puts both here. A mail that shows the change belongs above."""
    box = SourceFile(sample_path(), "box", "mbox", "")
    found = [entry.message for entry in read_mbox(box)]
    read = [
        (each.source_key, sorted(each.flags), each.folder, each.mime, each.delivered_at)
        for each in found
        if isinstance(each, RawMessage)
    ]
    assert len(read) == len(found) > 50
    digest = blake2b(repr([each[:3] for each in read]).encode(), digest_size=8)
    for mime, delivered_at in [*((each[3], each[4]) for each in read), *((mime, 0) for mime in ODD)]:
        parsed = parse_message(mime, delivered_at=delivered_at)
        for part in digests_of(as_stored(parsed)):
            digest.update(part)
        digest.update(repr([problem.kind for problem in parsed.problems]).encode())
    assert (READER_VERSION, digest.hexdigest()) == (1, "d20c949d63d7c0ef")


def test_the_digests_of_what_was_read_are_made_alike_for_good() -> None:
    """In another form, each message of an archive would look as if somebody had written over it, and no newer reader
    would mend it. A new part is a new digest behind these."""
    made = [b"".join(digests_of(as_stored(parse_message(mime)))).hex() for mime in ODD[1:3]]
    assert made == [
        "1271cf25dd41b3850ef42357341aab284b9bbd362e7232b77e77a0f16990690169906901",
        "e6b71e8b57982b147e77a0f1699069014b9bbd36bf32b87b7e77a0f142c09a1e3e892ee5",
    ]
