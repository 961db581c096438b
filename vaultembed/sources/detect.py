"""Finding the mail below a path: mbox files, Maildirs, and files that hold one message, in any mixture."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vaultembed.errors import UsageError
from vaultembed.sources.base import (
    NotMail,
    SourceFile,
    Unreadable,
    describe_os_error,
    printable,
)
from vaultembed.sources.folder_names import folder_name
from vaultembed.sources.maildir import MESSAGE_DIRS, has_flags
from vaultembed.sources.sniff import HEAD_SIZE, looks_like_mbox, looks_like_message

Found = SourceFile | Unreadable | NotMail

_LOOKED_FOR: Final = (
    "Looked for mbox files, Maildirs (cur, new), .eml files and other files that begin with a mail header."
)
_MBOX_SUFFIXES: Final = (".mbox", ".mbx", ".mbs")
_FOLDER_SUFFIXES: Final = (".mbox", ".sbd")
"""Apple Mail keeps `Work.mbox/mbox`, Thunderbird the folders below `Work` in `Work.sbd/`."""

# Not opened: there are many of them beside mail, and some have header-like lines.
_OTHER_SUFFIX: Final = re.compile(
    r"(?i)\.(bmp|c|cfg|conf|css|csv|dat|db|gif|go|h|heic|html?|ics|ini|java|jpe?g|js|json|lock|log|md|mov|mp[34]|msf"
    r"|pdf|png|po|py|rs|sh|sqlite3?|svg|tiff?|toml|ts|vcf|wav|webp|xml|ya?ml)\Z"
)
_DEEPEST: Final = 200

_CLOSED_FORMATS: Final = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", (".msg",), "an Outlook .msg; save it as .eml"),
    (b"!BDN", (".pst", ".ost"), "an Outlook data file; export it to mbox, for example with readpst"),
    (b"\xcf\xad\x12\xfe", (".dbx",), "an Outlook Express folder; export it to mbox, for example with readpst"),
    (b"*mbx*\r\n", ("",), "a UW-IMAP mbx; convert it to mbox, for example with mailutil"),
    (b"\x1f\x8b", (".mbox.gz", ".eml.gz", ".txt.gz", ".mbx.gz"), "compressed; unpack it first"),
    (b"BZh", (".mbox.bz2", ".eml.bz2", ".txt.bz2"), "compressed; unpack it first"),
    (b"\xfd7zXZ", (".mbox.xz", ".eml.xz", ".txt.xz"), "compressed; unpack it first"),
    (b"PK\x03\x04", (".mbox.zip", ".eml.zip"), "compressed; unpack it first"),
)
"""First bytes, ends of the name, and what to tell: mail, but in no form that can be read here."""


@dataclass(frozen=True, slots=True)
class _Listing:
    files: list[str]
    directories: set[str]


@dataclass(frozen=True, slots=True)
class _Directory:
    path: Path
    relative: str
    """Printable, with a "/" at the end; "" for the imported path."""
    folder: str
    above: frozenset[tuple[int, int]]
    """Device and inode of this directory and those it was reached through: a link to one is a loop."""
    depth: int


def discover(path: Path) -> Iterator[Found]:
    """Everything at `path` that holds mail, in an order that is the same every time.

    Opens only files that neither stand in a Maildir nor are named .eml, and of those reads the first
    kilobytes. Memory: the names in one directory at a time. Symbolic links are followed, except in a circle.

    Raises:
        UsageError: there is nothing at `path`, or no mail (the latter at the end of the iteration).
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UsageError(f"{printable(path)} does not exist.") from None
    except OSError as error:
        raise UsageError(f"{printable(path)} cannot be read: {describe_os_error(error)}.") from None
    if stat.S_ISDIR(mode):
        return _require_mail(path, _walk(_root(path)))
    if stat.S_ISREG(mode):
        return _require_mail(path, iter([_classify(path, printable(path.name), "", "")]))
    raise UsageError(f"{printable(path)} is neither a file nor a directory.", _LOOKED_FOR)


def _require_mail(path: Path, found: Iterator[Found]) -> Iterator[Found]:
    others = 0
    mail = False
    for item in found:
        others += isinstance(item, NotMail)
        mail = mail or not isinstance(item, NotMail)
        yield item
    if not mail and not _is_maildir(path):
        raise UsageError(f"No mail found at {printable(path)}; files that are something else: {others}.", _LOOKED_FOR)


def _root(path: Path) -> _Directory:
    real = path.resolve()
    above = frozenset(_identity(directory) for directory in (real, *real.parents))
    return _Directory(path, "", "", above, 0)


def _walk(directory: _Directory) -> Iterator[Found]:
    listing = _list(directory.path)
    if isinstance(listing, Unreadable):
        yield listing
        return
    names = listing.files
    children = listing.directories
    if _is_maildir(directory.path):
        for name in MESSAGE_DIRS:
            if name in children:
                yield from _walk_messages(directory, name)
        children -= {*MESSAGE_DIRS, "tmp"}
    names.extend(children)
    names.sort()
    for name in names:
        if name in children:
            yield from _walk_child(directory, name)
        elif name.startswith(".") or _OTHER_SUFFIX.search(name):
            yield NotMail(directory.path / name)
        else:
            relative = directory.relative + printable(name)
            yield _classify(directory.path / name, relative, directory.folder, _mbox_folder(directory, name))


def _walk_child(directory: _Directory, name: str) -> Iterator[Found]:
    path = directory.path / name
    if name.startswith(".") and not _is_maildir(path):
        return  # .git, .imap, .Trash-1000, …
    stem = name
    for suffix in _FOLDER_SUFFIXES:
        stem = stem.removesuffix(suffix)
    try:
        identity = _identity(path)
    except OSError as error:
        yield Unreadable(printable(path), describe_os_error(error))
        return
    if identity in directory.above:
        return
    if directory.depth >= _DEEPEST:
        yield Unreadable(printable(path), f"more than {_DEEPEST} directories deep")
        return
    yield from _walk(
        _Directory(
            path,
            f"{directory.relative}{printable(name)}/",
            _join(directory.folder, folder_name(stem)),
            directory.above | {identity},
            directory.depth + 1,
        )
    )


def _walk_messages(maildir: _Directory, name: str) -> Iterator[Found]:
    """The messages in `cur` or `new`. In a whole Maildir all files there are messages, none needs a look."""
    path = maildir.path / name
    listing = _list(path)
    if isinstance(listing, Unreadable):
        yield listing
        return
    whole = all((maildir.path / each).is_dir() for each in MESSAGE_DIRS)
    listing.files.sort()
    for file_name in listing.files:
        file = path / file_name
        if file_name.startswith("."):
            yield NotMail(file)
            continue
        message = SourceFile(file, f"{maildir.relative}{name}/{printable(file_name)}", "maildir", maildir.folder)
        if whole:
            yield message
        else:
            found = _classify(file, message.relative_path, maildir.folder, maildir.folder)
            yield message if isinstance(found, SourceFile) else found
    inside = replace(maildir, path=path, relative=f"{maildir.relative}{name}/")
    for child in sorted(listing.directories):
        yield from _walk_child(inside, child)


def _classify(path: Path, relative: str, folder: str, mbox_folder: str) -> Found:
    """What one file is, by its name and, if that does not tell, by how it begins."""
    name = path.name.lower()
    if has_flags(name):
        return SourceFile(path, relative, "maildir", folder)
    if name.endswith(".eml"):
        return SourceFile(path, relative, "eml", folder)
    try:
        with path.open("rb", buffering=0) as stream:
            head = stream.read(HEAD_SIZE)
    except OSError as error:
        if path.is_symlink() and not path.exists():
            return NotMail(path)  # a lock, as often as not: Mozilla's point to "host:+pid"
        return Unreadable(printable(path), describe_os_error(error))
    for magic, suffixes, detail in _CLOSED_FORMATS:
        if head.startswith(magic) and name.endswith(suffixes):
            return Unreadable(printable(path), detail)
    if name.endswith(".msg") and head and b"\0" not in head:
        return SourceFile(path, relative, "eml", folder)
    if name.endswith(_MBOX_SUFFIXES) or looks_like_mbox(head):
        return SourceFile(path, relative, "mbox", mbox_folder)
    return SourceFile(path, relative, "eml", folder) if looks_like_message(head) else NotMail(path)


def _mbox_folder(directory: _Directory, name: str) -> str:
    """The folder that an mbox is: named like the file, or like the directory that Apple Mail puts it in.

    A name that starts with a digit numbers months or messages (2012-March.txt, 0001.bfc8d64d) and is no folder's.
    """
    if name[0].isdigit() or (name == "mbox" and directory.path.name.endswith(".mbox")):
        return directory.folder
    stem, suffix = os.path.splitext(name)
    return _join(directory.folder, folder_name(stem if suffix.lower() in _MBOX_SUFFIXES else name))


def _list(path: Path) -> _Listing | Unreadable:
    """The names in a directory. Links that lead nowhere count as files, so that lost mail is reported."""
    files: list[str] = []
    directories: set[str] = set()
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_symlink() and not os.path.exists(entry.path):
                    files.append(entry.name)
                elif entry.is_dir():
                    directories.add(entry.name)
                elif entry.is_file():  # not a pipe: opening one would wait for ever
                    files.append(entry.name)
    except OSError as error:
        return Unreadable(printable(path), describe_os_error(error))
    return _Listing(files, directories)


def _is_maildir(path: Path) -> bool:
    return (path / "cur").is_dir() or ((path / "new").is_dir() and (path / "tmp").is_dir())


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
