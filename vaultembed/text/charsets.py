"""Bytes to text: what the message declares, and a guess where it declares nothing that works.

Never repairs mojibake: bytes that decode as declared are taken at their word.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

import chardet

from vaultembed.text.problems import ProblemLog

# Names of real mail that Python does not know, or that senders use for something larger: browsers read
# iso-8859-1 as cp1252 and gb2312 as gb18030, so that is what people saw when they wrote it.
_ALIASES: Final = {
    "ansi": "cp1252",
    "ansi-x3.110-1983": "cp1252",
    "big5-eten": "cp950",
    "big5-hkscs": "big5hkscs",
    "big5": "cp950",
    "chinese": "gb18030",
    "chinesebig5": "cp950",
    "cn-big5": "cp950",
    "cn-gb": "gb18030",
    "cp-850": "cp850",
    "cp932": "cp932",
    "cseuckr": "cp949",
    "dos-874": "cp874",
    "euc-cn": "gb18030",
    "euc-kr": "cp949",
    "gb-2312": "gb18030",
    "gb2312-80": "gb18030",
    "gb2312": "gb18030",
    "gb-2312-80": "gb18030",
    "gb18030-2000": "gb18030",
    "gbk": "gb18030",
    "hz-gb-2312": "hz",
    "iso-8859-1": "cp1252",
    "iso-8859-11": "cp874",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-9": "cp1254",
    "koi8-ru": "koi8-u",
    "ks-c-5601": "cp949",
    "ks-c-5601-1987": "cp949",
    "ksc5601": "cp949",
    "ksc-5601": "cp949",
    "ks-c-5601-1989": "cp949",
    "l1": "cp1252",
    "latin-1": "cp1252",
    "latin1": "cp1252",
    "mac": "mac-roman",
    "mac-ce": "mac-latin2",
    "mac-centraleurroman": "mac-latin2",
    "macintosh": "mac-roman",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "tis-620": "cp874",
    "unicode": "utf-16",
    "unicode-1-1-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "unicode-2-0-utf-8": "utf-8",
    "utf": "utf-8",
    "utf8mb4": "utf-8",
    "visual": "iso8859-8",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "windows-936": "gb18030",
    "windows-949": "cp949",
}

# Declared by programs that did not know: the same as declaring nothing.
_SAYS_NOTHING: Final = frozenset(
    [
        "",
        "7bit",
        "8bit",
        "auto",
        "binary",
        "default",
        "none",
        "null",
        "unknown",
        "unknown-8bit",
        "undefined",
        "user-defined",
    ]
)

_ASCII_NAMES: Final = frozenset(
    ["ascii", "us-ascii", "usascii", "us", "iso-ir-6", "ansi-x3.4-1968", "iso646-us", "646"]
)

# Python codecs that are no charsets of mail. idna and punycode take quadratic time.
_NOT_CHARSETS: Final = frozenset(
    ["idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"]
)

# Escapes that begin Japanese and Korean text in 7 bits.
_ESCAPES: Final = re.compile(rb"\x1b\$(?:[@B]|\(D|\)C)")
_JIS_ESCAPE: Final = re.compile(rb"\x1b(\$[@B]|\([BJI])")

# Of these, few bytes are UTF-8 by chance: text that is has another charset than it says.
_OF_SEVERAL_BYTES: Final = frozenset(
    ["big5hkscs", "cp932", "cp949", "cp950", "euc_jp", "gb18030", "iso2022_jp", "iso2022_kr", "hz", "shift_jisx0213"]
)
_ENOUGH: Final = 8
"""Characters beyond ASCII that are UTF-8 by no chance: of GB 18030, two or three sometimes are."""

# A charset and its wider relatives: the first that decodes everything wins.
_WIDER: Final = {
    "cp1252": ("latin-1",),
    "cp932": ("shift_jisx0213",),
    "cp950": ("big5hkscs",),
    "iso2022_jp": ("iso2022_jp_ext", "iso2022_jp_2004"),
    "euc_jp": ("euc_jisx0213",),
}

_SAMPLE: Final = 65_536
_C1: Final = re.compile(rb"[\x80-\x9f]")
_NON_ASCII: Final = re.compile(rb"[\x80-\xff]+")
# Guesses that are never right for mail: EBCDIC, DOS and Mac pages look like Western text to a statistic.
_NEVER_GUESS: Final = re.compile(
    r"(?i)cp(037|5\d\d|1026|1140|273|42\d|8[56]\d|437|720|737|775|86\d|1258|1006|1125)|mac|utf-?(16|32|7)|kz|hp-roman|ptcp|tis"
)


def codec_of(declared: str | None) -> str | None:
    """Python's name for a declared charset; None where it declares nothing usable."""
    name = _tidy(declared)
    if name in _SAYS_NOTHING:
        return None
    if name in _ASCII_NAMES:
        return "ascii"
    return _known(name)


def _tidy(declared: str | None) -> str:
    if not declared:
        return ""
    name = declared.strip().strip("\"'<>").lower()
    name = re.split(r"[\s;,\"'*$]", name.removeprefix("charset").lstrip("= \"'"), maxsplit=1)[0][:60]
    return re.sub(r"[_\s]+", "-", name).strip("-").removeprefix("x-")


def _known(name: str) -> str | None:
    if name in _ALIASES:
        return _ALIASES[name]
    respelled = re.sub(r"^(?:iso-?|)8859-?(\d{1,2})$", r"iso-8859-\1", name)
    respelled = re.sub(r"^(?:win(?:dows)?|cp|ansi|dos|ibm|oem|pc)-?(\d{3,4})$", r"cp\1", respelled)
    respelled = _ALIASES.get(respelled, respelled)
    if respelled in _NOT_CHARSETS or not respelled.isascii() or "\0" in respelled:
        return None
    try:
        found = codecs.lookup(respelled)
    except (LookupError, ValueError):
        return None
    if not getattr(found, "_is_text_encoding", True) or found.name in {"idna", "punycode"}:
        return None
    return {"iso8859-1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"}.get(
        found.name, found.name
    )


def decode(data: bytes, declared: str | None, log: ProblemLog, *, hint: str | None = None, where: str = "text") -> str:
    """Decodes `data`; the result holds no NUL and no lone surrogate.

    Args:
        data: bytes as they stood in the part, transfer encoding undone.
        declared: the charset as declared, however misspelt.
        log: gets what did not work out as declared.
        hint: a charset to try before guessing (a header's: the one of the body).
        where: names the place in a problem's detail.
    """
    if not data:
        return ""
    name = codec_of(declared)
    if name is None and _tidy(declared) not in _SAYS_NOTHING:
        log.add("unknown-charset", f"{where}: {declared!r}")
    if (name is None or name in {"ascii", "utf-8", "cp1252"}) and data.isascii() and (escape := _ESCAPES.search(data)):
        return _decode_as(data, "iso2022_kr" if escape[0].endswith(b"C") else "iso2022_jp", log, where)
    # ISO-2022-JP and friends are ASCII to the eye: a declared stateful charset is taken at its word below.
    if data.isascii() and (name is None or name in {"ascii", "utf-8", "cp1252"}):
        return clean(data.decode("ascii"))
    if name is None or name == "ascii":
        if name == "ascii" or declared is None or _tidy(declared) in _SAYS_NOTHING:
            text, used = guess(data, hint)
            if used != "utf-8":  # which proves itself, and is what a header may be in (RFC 6532)
                log.add("undeclared-8bit", f"{where}: read as {used}")
            return clean(text)
        text, used = guess(data, hint)
        return clean(text)
    return _decode_as(data, name, log, where)


def _decode_as(data: bytes, name: str, log: ProblemLog, where: str) -> str:
    if name in {"utf-16", "utf-32"}:
        name = _with_byte_order(data, name)
    if name in _OF_SEVERAL_BYTES and not data.isascii():
        other = _contradicting(data, name)
        if other is not None:
            log.add("wrong-charset", f"{where}: declared {name}, read as {other}")
            return clean(data.decode(other))
    for candidate in (name, *_WIDER.get(name, ())):
        try:
            return clean(data.decode(candidate))
        except (UnicodeError, ValueError):
            continue
    if name == "iso2022_jp" and (japanese := _decode_jis(data)) is not None:
        return clean(japanese)
    text = data.decode(name, "replace")
    bad = text.count("�")
    # A few bad bytes are damage in transit; many mean that the declaration is wrong.
    foreign = sum(map(len, _NON_ASCII.findall(data[: 4 * _SAMPLE])))
    if name not in {"utf-7", "hz"} and not name.startswith(("iso2022", "utf-16", "utf-32")) and bad * 5 > foreign:
        guessed, used = guess(data, None)
        log.add("wrong-charset", f"{where}: declared {name}, read as {used}")
        return clean(guessed)
    log.add("bad-bytes", f"{where}: {bad} places are not valid {name}")
    return clean(text)


def _contradicting(data: bytes, name: str) -> str | None:
    """The charset of bytes that cannot be, or hardly are, of the one that is declared."""
    in_seven_bits = name.startswith("iso2022") or name == "hz"
    text = decoded(data, "utf-8")
    if text is not None and (in_seven_bits or sum(not c.isascii() for c in text) >= _ENOUGH):
        return "utf-8" if name != "utf-8" else None
    return "cp932" if name == "iso2022_jp" and not _ESCAPES.search(data) and decoded(data, "cp932") else None


def _decode_jis(data: bytes) -> str | None:
    """ISO-2022-JP with the characters that Windows adds (circled digits, 髙), as browsers read it: the two bytes of a
    character are those of Shift_JIS, moved (JIS X 0208, annex 1)."""
    pieces = _JIS_ESCAPE.split(data)
    out = [pieces[0].decode("ascii", "replace")]
    for escape, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if escape == b"(I":
            moved = bytes(byte | 0x80 if 0x21 <= byte <= 0x5F else byte for byte in piece)
        elif escape.startswith(b"$"):
            moved = _JIS_PAIR.sub(_to_shift_jis, piece)
        else:
            moved = piece
        text = decoded(moved, "cp932")
        if text is None:
            return None
        out.append(text)
    return "".join(out)


_JIS_PAIR: Final = re.compile(rb"[\x21-\x7e]{2}")


def _to_shift_jis(pair: re.Match[bytes]) -> bytes:
    row, cell = pair[0]
    lead = (row + 1) // 2 + (0x70 if row < 0x5F else 0xB0)
    trail = cell + (0x1F if cell < 0x60 else 0x20) if row % 2 else cell + 0x7E
    return bytes((lead, trail))


def _with_byte_order(data: bytes, name: str) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:4] == b"\x00\x00\xfe\xff":
        return name
    sample = data[:1000]
    # Latin letters have their zero byte first in big-endian order.
    return f"{name}-be" if sample[0::2].count(0) >= sample[1::2].count(0) else f"{name}-le"


def guess(data: bytes, hint: str | None) -> tuple[str, str]:
    """Text of bytes whose charset is not known, and the name of the charset taken."""
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    hinted = codec_of(hint)
    if hinted not in {None, "ascii", "utf-8", "utf-16", "utf-32", "utf-7"}:
        try:
            return data.decode(hinted or ""), hinted or ""
        except (UnicodeError, ValueError):
            pass
    sample = b"\n".join(_sample_lines(data))
    found = chardet.detect(sample, prefer_superset=True)
    name, confidence = found["encoding"], found["confidence"] or 0.0
    high = sum(map(len, _NON_ASCII.findall(sample)))
    letters = high + sum(sample.count(c) for c in b"aeiounrstlAEIOUNRSTL")
    # Too little to go by ("Müller" alone is called Hungarian, "José" Greek): mostly ASCII means Western.
    mostly_ascii = high * 2 < letters
    if name and not _NEVER_GUESS.search(name) and (confidence >= 0.1 or not mostly_ascii):
        codec = codec_of(name)
        if codec == "cp1250" and not _C1.search(data):
            # a superset is preferred, but it has its "šťž" where iso-8859-2 has nothing
            codec = "iso8859-2"
        if codec not in {None, "ascii"}:
            try:
                return data.decode(codec or ""), codec or ""
            except (UnicodeError, ValueError):
                pass
    mostly_utf8 = data.decode("utf-8", "replace")
    if mostly_utf8.count("�") * 20 < high:  # e.g. cut in the middle of a character
        return mostly_utf8, "utf-8"
    try:
        return data.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def _sample_lines(data: bytes) -> list[bytes]:
    sample: list[bytes] = []
    size = end = 0
    for match in _NON_ASCII.finditer(data):
        if match.start() < end:
            continue
        begin = max(end, match.start() - 256)
        begin = max(begin, data.rfind(b"\n", begin, match.start()) + 1)
        end = match.end() + 256
        sample.append(data[begin:end])
        size += end - begin
        if size > _SAMPLE:
            break
    return sample


def decoded(data: bytes, codec: str) -> str | None:
    """None where it is not of that charset, or Python has none of that name."""
    try:
        return data.decode(codec)
    except (UnicodeError, ValueError, LookupError):
        return None


def clean(text: str) -> str:
    """Without NUL, byte order mark and lone surrogates; line ends are "\\n"."""
    if "\0" in text:
        text = text.replace("\0", "")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.removeprefix("\ufeff")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Pairs of surrogates (CESU-8, utf-7) are one character each; what is left alone is not text.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
