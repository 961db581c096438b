"""What stands in a text and says nothing: encoded blobs, tracking in addresses of pages, white space."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

_UU_BEGIN: Final = re.compile(r"^begin(?:-base64)? [0-7]{3,4} \S")
_UU_LINE: Final = re.compile(r"^M[ -`]{60}\s?$")
_BASE64_LINE: Final = re.compile(r"^[A-Za-z0-9+/]{40,}={0,2}$")
_ARMOUR: Final = re.compile(
    r"^(?:- )?-----BEGIN ((?:PGP|SSH2?|RSA|X509|CERTIFICATE|[A-Z ]{0,20}(?:PRIVATE|PUBLIC) KEY"
    r"|GEEK)[A-Z0-9 ]*)-----"
)
_ARMOUR_END: Final = re.compile(r"^(?:- )?-----END [A-Z0-9 ]+-----")
_SIGNED_FIELD: Final = re.compile(r"^(?:Hash|Charset|Version|Comment|NotDashEscaped): ")
_SHORTEST_BLOB: Final = 3  # lines
_MOST_ARMOUR_LINES: Final = 2_000

_URL: Final = re.compile(r"(?i)\b(?:https?|ftp)://[^\s<>\"'\u3000-\u303f\uff00-\uffef]+")
_TRACKING: Final = re.compile(
    r"(?i)^(?:utm_\w+|fbclid|gclid|dclid|msclkid|mc_[ce]id|igshid|_hs\w+|mkt_tok|trk\w*|vero_\w+"
    r"|oly_\w+|s?cid|ref(?:_?src)?|spm|yclid|wt\.\w+|elq\w*)$"
)
_LONGEST_QUERY: Final = 60
_LONGEST_URL: Final = 120
_OPAQUE: Final = re.compile(r"[A-Za-z0-9+/_=%-]{100,}")
_MAILTO: Final = re.compile(r"(?i)[<\[(]mailto:[^>\])\s]{0,200}[>\])]")
_PICTURE: Final = re.compile(r"(?i)\[(?:cid|image|inline image)[:\s][^\]\n]{0,200}\]")
_SPACES: Final = re.compile(r"[^\S\n]+")
_DECORATION: Final = re.compile(r"^[\s\-_=*~#+.·•|<>/\\^]{4,}$")
_DROPPED: Final = re.compile("[\u00ad\u200b\u2060\ufeff\ufffc\x00-\x08\x0b\x0e-\x1f\x7f]+")


def strip_blobs(text: str) -> str:
    """Without uuencoded and base64 files, keys, and the armour of PGP (signed text stays)."""
    lines = text.split("\n")
    ends = [index for index, line in enumerate(lines) if "-----END " in line and _ARMOUR_END.match(line[:60])]
    out: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        armour = _ARMOUR.match(line[:80])
        if armour and armour[1].startswith("PGP SIGNED"):
            index += 1
            while index < len(lines) and _SIGNED_FIELD.match(lines[index][:20]):
                index += 1
        elif armour:
            index = _after_armour(lines, index, ends)
        elif _UU_BEGIN.match(line[:60]):
            index = _after_uuencode(lines, index)
        elif _is_blob_line(line):
            end = index
            while end < len(lines) and _is_blob_line(lines[end]):
                end += 1
            if end - index >= _SHORTEST_BLOB:
                if end < len(lines) and re.fullmatch(r"[A-Za-z0-9+/]{1,76}={0,2}", lines[end]):
                    end += 1  # the last line is shorter
            else:
                out.extend(lines[index:end])
            index = end
        else:
            out.append(line)
            index += 1
    return "\n".join(out)


def _is_blob_line(line: str) -> bool:
    return 40 <= len(line) <= 1_000 and (_BASE64_LINE.match(line) or _UU_LINE.match(line)) is not None


def _after_armour(lines: list[str], begin: int, ends: list[int]) -> int:
    following = bisect_right(ends, begin)
    if following < len(ends) and ends[following] - begin <= _MOST_ARMOUR_LINES:
        return ends[following] + 1
    # No end: what looks like lines of the blob goes, text after it stays.
    index = begin + 1
    while index < len(lines) and _is_blob_line(lines[index]):
        index += 1
    return index


def _after_uuencode(lines: list[str], begin: int) -> int:
    index = begin + 1
    while index < len(lines) and (_is_blob_line(lines[index]) or _has_uu_length(lines[index])):
        index += 1
    if index < len(lines) and lines[index].rstrip() in {"end", "===="}:
        index += 1
    return index


def _has_uu_length(line: str) -> bool:
    """Whether the first character of a uuencoded line says how long the line is (or one more, or blanks cut)."""
    if not line or not " " <= line[0] <= "`":
        return False
    wanted = (((ord(line[0]) - 32) & 63) + 2) // 3 * 4 + 1
    return len(line) in (wanted, wanted + 1) or (" " in line and wanted - 4 <= len(line) < wanted)


def fold(text: str) -> str:
    """Addresses of pages shortened, opaque words out, white space folded; paragraphs stay apart by a blank line."""
    text = _DROPPED.sub("", text)
    if "mailto:" in text.lower():
        text = _MAILTO.sub("", text)
    text = _PICTURE.sub("", text)
    if "://" in text:
        text = _URL.sub(lambda match: _short_url(match[0]), text)
    text = _OPAQUE.sub(" ", text)
    out: list[str] = []
    for line in _SPACES.sub(" ", text).split("\n"):
        line = line.strip()
        if not line or (_DECORATION.match(line[:500]) and not any(c.isalnum() for c in line)):
            line = ""
        if line or (out and out[-1]):
            out.append(line)
    return "\n".join(out).strip()


def _short_url(url: str) -> str:
    """Without tracking parameters; without a long query; host and the beginning of the path of a long one."""
    trail = ""
    while url and url[-1] in ".,;:!?)]}'":
        trail, url = url[-1] + trail, url[:-1]
    address, _, _fragment = url.partition("#") if len(url) > _LONGEST_URL else (url, "", "")
    address, _, query = address.partition("?")
    kept = "&".join(one for one in query.split("&") if one and not _TRACKING.match(one.partition("=")[0][:40]))
    if len(kept) <= _LONGEST_QUERY and kept:
        address = f"{address}?{kept}"
    if len(address) > _LONGEST_URL:
        host, _, path = address.partition("://")[2].partition("/")
        words = [step for step in path.split("/") if len(step) <= 40][:4]
        address = "/".join([host[:80], *words])
    return address + trail
