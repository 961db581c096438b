"""What people call the folder that a directory or a file stands for."""

from __future__ import annotations

import re
import unicodedata
from base64 import b64decode, b64encode
from typing import Final

from vaultembed.sources.base import printable

_ROOT: Final = re.compile(r"(?i)(?:INBOX|\[[^\]]+\])\.")
"""Where a program kept all folders of an account side by side: INBOX.Sent, [Gmail].Drafts."""
_SHIFTED: Final = re.compile("&([A-Za-z0-9+,]*)-")
_UNPRINTED: Final = re.compile("&|[^ -~]+")


def folder_name(name: str) -> str:
    """As a person knows it, "/"-separated: the Maildir++ directory ".Lists.R&AOk-sum&AOk-" is "Lists/Résumé".

    There, and below the root of an account, dots separate levels
    (https://www.courier-mta.org/imap/README.maildirquota.html).
    """
    if name.startswith(".") or _ROOT.match(name):
        name = name.removeprefix(".").replace(".", "/")
    # a Mac writes "ü" as two characters; the same folder from elsewhere is no other
    return printable(unicodedata.normalize("NFC", _decoded(name)))


def _decoded(name: str) -> str:
    """Without the modified UTF-7 of RFC 3501 5.1.3, which programs take over from IMAP; a name that is not valid in
    it stays as it is: "R&D", or "Q&A-2019"."""
    try:
        decoded = _SHIFTED.sub(_unshift, name)
    except ValueError:
        return name
    return decoded if _UNPRINTED.sub(_shift, decoded) == name and decoded.isprintable() else name


def _unshift(match: re.Match[str]) -> str:
    if not match[1]:
        return "&"
    encoded = match[1].replace(",", "/")
    return b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode("utf-16-be")


def _shift(match: re.Match[str]) -> str:
    encoded = b"" if match[0] == "&" else b64encode(match[0].encode("utf-16-be", "surrogatepass"))
    return f"&{encoded.decode().rstrip('=').replace('/', ',')}-"
