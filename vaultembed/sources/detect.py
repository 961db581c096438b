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
from vaultembed.sources.closed import closed_format
from vaultembed.sources.folder_names import folder_name
from vaultembed.sources.maildir import MESSAGE_DIRS, has_flags
from vaultembed.sources.sniff import HEAD_SIZE, looks_like_mbox, looks_like_message, without_utf_16

Found = SourceFile | Unreadable | NotMail

_LOOKED_FOR: Final = (
    "Looked for mbox files, Maildirs (cur, new), .eml files and other files that begin with a mail header."
)
_MBOX_SUFFIXES: Final = (".mbox", ".mbx", ".mbs")
_FOLDER_SUFFIXES: Final = (".mbox", ".sbd")
"""Apple Mail keeps `Work.mbox/mbox`, Thunderbird the folders below `Work` in `Work.sbd/`."""
_SUBFOLDERS: Final = re.compile(r"\.(.+)\.directory")
"""KMail keeps the folders below `Work` in `.Work.directory/`."""

# Not opened: there are many of them beside mail, and some have header-like lines.
_OTHER_SUFFIX: Final = re.compile(
    r"(?i)\.(bmp|c|cfg|conf|css|csv|dat|db|gif|go|h|heic|html?|ics|ini|java|jpe?g|js|json|lock|log|md|mov|mp[34]|msf"
    r"|pdf|png|po|py|rs|sh|sqlite3?|svg|tiff?|toml|ts|vcf|wav|webp|xml|ya?ml)\Z"
)
_LOCK: Final = re.compile(r"[\w.-]*:\+?\d+")
"""Where Mozilla's locks lead, "host:+pid". Another link that leads nowhere may be mail on a disk that is not there."""
_DEEPEST: Final = 200

_UTF_16: Final = "a mailbox in UTF-16; convert it first: iconv -f UTF-16 -t UTF-8"


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
    subfolders = _SUBFOLDERS.fullmatch(name)
    if name.startswith(".") and not _is_maildir(path) and not subfolders:
        if _is_maildir(directory.path) and isinstance(listing := _list(path), Unreadable):
            yield listing
        return  # .git, .imap, .Trash-1000, …
    stem = subfolders[1] if subfolders else name
    for suffix in _FOLDER_SUFFIXES:
        stem = stem.removesuffix(suffix)
    try:
        identity = _identity(path)
    except OSError as error:
        yield _unreadable(path, error)
        return
    if identity in directory.above:
        return
    if directory.depth >= _DEEPEST:
        yield Unreadable(printable(path), f"more than {_DEEPEST} directories deep; name it by itself", hides_more=True)
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
        if not os.path.lexists(path) or (path.is_symlink() and _LOCK.fullmatch(os.readlink(path))):
            return NotMail(path)  # it went since it was listed, or never was mail
        return _unreadable(path, error)
    told = closed_format(path, head)
    text = without_utf_16(head)
    if told is None and text is not head and looks_like_mbox(text):
        told = _UTF_16
    if told is not None:
        return Unreadable(printable(path), told)
    if name.endswith(".msg") and head and b"\0" not in text:
        return SourceFile(path, relative, "eml", folder)
    if name.endswith(_MBOX_SUFFIXES) or looks_like_mbox(text):
        return SourceFile(path, relative, "mbox", mbox_folder)
    return SourceFile(path, relative, "eml", folder) if looks_like_message(text) else NotMail(path)


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
        return _unreadable(path, error)
    return _Listing(files, directories)


def _is_maildir(path: Path) -> bool:
    # not Path.is_dir, which raises where a directory may not be searched
    has = [name for name in (*MESSAGE_DIRS, "tmp") if os.path.isdir(path / name)]
    return "cur" in has or has == ["new", "tmp"]


def _unreadable(path: Path, error: OSError) -> Unreadable:
    detail = describe_os_error(error)
    if isinstance(error, PermissionError):
        detail += f"; as somebody who may read it: vaultembed import {printable(path)}"
    return Unreadable(printable(path), detail, hides_more=True)


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
