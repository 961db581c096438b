"""Mail in forms that are not read here: told by name or content, each with the way out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Final

from vaultembed.message import MESSAGE_LIMIT
from vaultembed.sources.sniff import HEAD_SIZE, looks_like_mbox, looks_like_message

_CONTENTS: Final = (
    (rb"!BDN", "an Outlook data file; export it to mbox, for example with readpst"),
    (rb"\xcf\xad\x12\xfe|JMF[69]", "an Outlook Express folder; export it to .eml, for example with undbx"),
    (rb"\*mbx\*\r\n", "a UW-IMAP mbx; convert it to mbox, for example with mailutil"),
    (rb"BABYL OPTIONS:", "an Rmail (Babyl) file; convert it to mbox with Emacs: M-x unrmail"),
    (rb"\x01{4}\r?\n", "an MMDF folder; save it as mbox, for example with mutt"),
    (rb"2 M[0-9A-Fa-f]+ C[0-9A-Fa-f]+\n", "a Dovecot dbox file; convert the mailbox with doveadm backup maildir:DIR"),
    (rb"CRYPTED\x03\x07", "encrypted by Dovecot; write it out with doveadm backup maildir:DIR"),
    (rb"Dovecot-LZ4\r\n", "compressed by Dovecot; write it out with doveadm backup maildir:DIR"),
)
"""How files begin that are mail and nothing else."""

_CONTENT: Final = re.compile(b"|".join(b"(%b)" % pattern for pattern, _ in _CONTENTS))

_OUTLOOK_FOR_MAC: Final = "of Outlook for Mac; drag its folders out of Outlook: each becomes an .mbox"
_APPLE_MAIL: Final = "a message of Apple Mail; export its mailbox from Mail: it becomes an .mbox"
_SUFFIXES: Final = {
    ".pst": _CONTENTS[0][1],
    ".ost": _CONTENTS[0][1],
    ".olm": f"an archive {_OUTLOOK_FOR_MAC}",
    ".olk14message": f"a message {_OUTLOOK_FOR_MAC}",
    ".olk14msgsource": f"a message {_OUTLOOK_FOR_MAC}",
    ".olk15message": f"a message {_OUTLOOK_FOR_MAC}",
    ".olk15msgsource": f"a message {_OUTLOOK_FOR_MAC}",
    ".emlx": _APPLE_MAIL,
    ".nsf": "a Notes database; drag its mail out of Notes as .eml",
    ".pfc": "an AOL filing cabinet; open it with AOL and save the mail as .eml",
    ".pmm": "a Pegasus Mail folder; export its messages from Pegasus Mail",
    ".tbb": "a folder of The Bat!; export it from there as a Unix mailbox",
    ".imm": "an IncrediMail folder; export its messages as .eml",
}
"""What is mail by its name, whatever it holds."""
_APPLE: Final = re.compile(rb"\d{1,10} *\r?\n(?=[!-9;-~]+:)")
"""An .emlx begins with the length of its message."""
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SAVE_AS_EML: Final = "an Outlook .msg; save it as .eml"

_COMPRESSED: Final = "compressed; unpack it first"
_MAIL_INSIDE: Final = "an archive with mail in it; unpack it first"
_UNKNOWN_INSIDE: Final = "packed, and whether there is mail in it cannot be told; if there is, unpack it first"
_ZIP: Final = b"PK\x03\x04"
_PACKERS: Final = (_ZIP, b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_OTHER_PACKERS: Final = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd", b"\x1f\x9d", b"\x04\x22\x4d\x18")
"""7z, rar, zstd, compress, lz4: nothing here looks into them."""
_ERRORS: Final = (
    *(OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError),
    *(RuntimeError, NotImplementedError, KeyError),  # of a zip: encrypted, packed in a way of its own, told wrongly
)
_MAIL_NAME: Final = re.compile(
    r"(?i)(?:\.(?:mbo?x|mbs|emlx?|msg|pst|ost|olm|dbx)(?:\.\w{2,4})?|(?:^|/)(?:mbox|(?:cur|new)/[^/]+))\Z"
)
_DOCUMENT: Final = frozenset({"[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF", "AndroidManifest.xml"})
_MOST_MEMBERS: Final = 10_000
_MOST_UNPACKED: Final = 8 * 1024 * 1024
"""Bytes of a tar that are looked at."""
_MOST_PACKED: Final = 64 * 1024 * 1024
"""Bytes of a message that may come out of next to none."""
_PIECE: Final = 64 * 1024


def closed_format(path: Path, head: bytes, *, is_message: bool = False) -> str | None:
    """What to tell of a file that begins with `head` and holds mail that cannot be read; None of any other.

    `is_message`: it stands where there are only messages, or is named like one.
    """
    if not head:
        return None
    if found := _CONTENT.match(head):
        return _CONTENTS[(found.lastindex or 1) - 1][1]
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if head.startswith(_OLE):
        return _SAVE_AS_EML if is_message or suffix in (".msg", ".oft") else None
    if is_message:
        return _COMPRESSED if head.startswith((*_PACKERS, *_OTHER_PACKERS)) else None
    if length := _APPLE.match(head):
        return _APPLE_MAIL if looks_like_message(head[length.end() :]) else None
    return _inside(path, head)


def unpacked(raw: bytes) -> bytes:
    """A message that was compressed by itself, as Dovecot does in a Maildir; anything else as it is.

    Raises:
        ValueError: it is cut short, damaged, or larger than a message may be.
    """
    stream = _unpacking(io.BytesIO(raw), raw)
    if stream is None:
        return raw
    limit = min(MESSAGE_LIMIT, 4 * len(raw) + _MOST_PACKED)
    mime = io.BytesIO()
    try:
        # read(limit + 1) sets aside 64 MB for a mail of one line
        while mime.tell() <= limit and (piece := stream.read(_PIECE)):
            mime.write(piece)
    except _ERRORS as error:
        raise ValueError("compressed, and cut short or damaged; unpack it to see what is left of it") from error
    if mime.tell() > limit:
        raise ValueError(f"compressed, and more than {limit / 1e6:.0f} MB; unpack it first")
    return mime.getvalue()


def _unpacking(file: IO[bytes], head: bytes) -> io.BufferedIOBase | None:
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file) if head.startswith(b"\xfd7zXZ") else None


def _inside(path: Path, head: bytes) -> str | None:
    """What to tell of a file that something is packed in."""
    if head.startswith(_OTHER_PACKERS):
        return _UNKNOWN_INSIDE
    if not head.startswith(_PACKERS) and not _is_tar(head):
        return None
    try:
        if head.startswith(_ZIP):
            return _told_of(_in_zip(path))
        with path.open("rb") as file:
            stream = _unpacking(file, head) or file
            head = stream.read(HEAD_SIZE)
            if _is_tar(head):
                stream.seek(0)
                return _told_of(_in_tar(stream))
    except _ERRORS:
        return _UNKNOWN_INSIDE
    is_mail = looks_like_mbox(head) or looks_like_message(head) or closed_format(Path(path.stem), head, is_message=True)
    return _COMPRESSED if is_mail else None


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _told_of(members: Iterator[tuple[str, bytes]]) -> str | None:
    for name, head in members:
        if name in _DOCUMENT:
            return None
        if _MAIL_NAME.search(name) or looks_like_mbox(head) or looks_like_message(head):
            return _MAIL_INSIDE
    return None


def _in_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names, and of those without a suffix also how they begin."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            yield name, b""
        for name in islice((each for each in archive.namelist() if _may_be_mailbox(each)), 100):
            with archive.open(name) as stream:
                yield name, stream.read(HEAD_SIZE)


def _in_tar(stream: IO[bytes] | io.BufferedIOBase) -> Iterator[tuple[str, bytes]]:
    beginning = io.BytesIO(stream.read(_MOST_UNPACKED))
    is_whole = not stream.read(1)
    with tarfile.open(fileobj=beginning) as archive:
        for member in islice(archive, _MOST_MEMBERS):
            content = archive.extractfile(member) if member.isreg() and _may_be_mailbox(member.name) else None
            yield member.name, content.read(HEAD_SIZE) if content else b""
    if not is_whole:
        raise ValueError("there is more than is looked at")


def _may_be_mailbox(name: str) -> bool:
    last = name.rpartition("/")[2]
    return bool(last) and "." not in last[-5:]
