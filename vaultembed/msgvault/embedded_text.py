"""The text that msgvault made of a message and embedded. It keeps none: it is made again of what it was made of, by the
steps that the fingerprint names. The length that is kept tells whether it is the same.
"""

from __future__ import annotations

import html
import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

# Every repetition is possessive or bounded: a message may be made to be slow.
_DATA_URI: Final = re.compile(r"data:[^\s,]{0,200};base64,[A-Za-z0-9+/]*+={0,2}")
_BASE64: Final = (
    re.compile(r"[A-Za-z0-9+]{200,}+={0,2}"),
    re.compile(r"[A-Za-z0-9+/]{300,}+={0,2}"),
)
_OPENING: Final = re.compile(r"<(style|script)\b[^>]{0,2000}+>", re.IGNORECASE)
_CLOSING: Final = {name: re.compile(rf"</{name}\s*+>", re.IGNORECASE) for name in ("style", "script")}
_TAG: Final = re.compile(
    r"""</?[a-z][A-Za-z0-9:-]*+
    (?:\s++[A-Za-z_:@][-\w:.]*+\s*+=\s*+(?:"[^"]{0,400}+"|'[^']{0,400}+'|[^\s"'>]{1,400}+)){0,60}+
    \s*+/?>""",
    re.VERBOSE,
)
_URL: Final = re.compile(r"""https?://[^\s<>"']++""")
_TRACKING: Final = re.compile(
    r"utm_.*|fbclid|gclid|gclsrc|dclid|yclid|msclkid|mc_[ce]id|_hs(?:enc|mi)|igshid|ref|spm", re.IGNORECASE
)
_ATTRIBUTED: Final = re.compile(r"^On .*wrote:[ \t]*\n(?:[ \t]*\n)*(?:>.*(?:\n|\Z))+", re.MULTILINE)
_QUOTED: Final = re.compile(r"^>.*(?:\n|\Z)", re.MULTILINE)
_SIGNATURE: Final = re.compile(r"^--[ \t]*(?:\n[\s\S]*|\Z)", re.MULTILINE)
_BLANKS: Final = re.compile(r"[ \t]{2,}+")
_EMPTY_LINES: Final = re.compile(r"\n{3,}+")


def embedded_text(subject: bytes, body: bytes, recipe: str) -> str:
    """`recipe`: as an outcome here tells it, e.g. `msgvault-p1-111111:c1000:e1`; the oldest versions name no steps."""
    text = decoded(body)
    found = re.search(r"-p\d+-([01]{6})", recipe)
    quotes, signatures, tags, base64, tracking, whitespace = (flag == "1" for flag in (found[1] if found else "110000"))
    if found:
        text = text.replace("\r\n", "\n")
    if base64:
        for pattern in (_DATA_URI, *_BASE64):
            text = pattern.sub(" ", text)
    if tags:
        text = html.unescape(_TAG.sub(" ", _without_blocks(text)))
    if tracking:
        text = _URL.sub(lambda url: _untracked(url[0]), text)
    if quotes:
        text = _QUOTED.sub("", _ATTRIBUTED.sub("", text))
    if signatures:
        text = _SIGNATURE.sub("", text)
    if whitespace:
        text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
        text = _EMPTY_LINES.sub("\n\n", _BLANKS.sub(" ", text))
    title = decoded(subject)
    return f"Subject: {title}\n\n{text.strip()}" if title else text.strip()


def decoded(stored: bytes) -> str:
    """As msgvault reads text, and counts it: each byte that is no UTF-8 is a character."""
    return re.sub("[\udc80-\udcff]", "\ufffd", stored.decode("utf-8", "surrogateescape"))


def _without_blocks(text: str) -> str:
    kept, at, unclosed = [], 0, set()
    for opening in _OPENING.finditer(text):
        name = opening[1].lower()
        if opening.start() < at or name in unclosed:
            continue
        closing = _CLOSING[name].search(text, opening.end())
        if closing is None:
            unclosed.add(name)
            continue
        kept += [text[at : opening.start()], " "]
        at = closing.end()
    return "".join([*kept, text[at:]])


def _untracked(url: str) -> str:
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return url
    kept = [(name, value) for name, value in query if not _TRACKING.fullmatch(name)]
    if len(kept) == len(query):
        return url
    return parts._replace(query=urlencode(sorted(kept, key=lambda pair: pair[0]))).geturl()
