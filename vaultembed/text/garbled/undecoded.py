"""Takes off an encoding that was left on a text: RFC 2047 and 2231, ISO-2022, UTF-7."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

from vaultembed.text.charsets import clean, codec_of, decoded
from vaultembed.text.garbled.suspicion import ENCODED_WORD, ESCAPES, LOST_ESCAPES, PARAMETER, Kind
from vaultembed.text.mime.headers import decode_header
from vaultembed.text.problems import ProblemLog

_MAILBOX_NAME: Final = re.compile(r"&([A-Za-z0-9+,]{3,400})-")
_ISO_2022: Final = ("iso2022_jp", "iso2022_jp_2", "iso2022_jp_3", "iso2022_jp_ext")
_UTF_7: Final = re.compile(r"\+([A-Za-z0-9/]{3,400})(?:-|(?![A-Za-z0-9+/=]))")


def take_off(shown: str, kind: Kind) -> str | None:
    """What a text says without the encodings that were left on it; None where there are none."""
    text = shown
    if kind == "header":
        for _ in range(3):  # some have been encoded twice
            if ENCODED_WORD.search(text):
                text = decode_header(text, ProblemLog())
        text = _MAILBOX_NAME.sub(_decode_mailbox_name, text)
        parameter = PARAMETER.match(text)
        if parameter is not None and codec_of(parameter[1]) is not None:
            text = decoded(unquote_to_bytes(parameter[2]), codec_of(parameter[1]) or "utf-8") or text
    if ESCAPES.search(text):
        text = _decode_escapes(text)
    elif LOST_ESCAPES.search(text):
        text = LOST_ESCAPES.sub(_restore_escapes, text)
    text = _UTF_7.sub(_decode_utf_7, text) if "+" in text else text
    return None if text == shown or "\ufffd" in text else text


def _decode_escapes(text: str) -> str:
    try:
        data = text.encode("ascii")
    except UnicodeEncodeError:
        return text
    charsets = ("iso2022_kr",) if "\x1b$)C" in text else _ISO_2022
    return next((clean(found) for charset in charsets if (found := decoded(data, charset)) is not None), text)


def _restore_escapes(match: re.Match[str]) -> str:
    found = decoded(f"\x1b$B{match[1]}\x1b(B".encode(), "iso2022_jp")
    # "$B" stands in many a script of a shell; that it is Japanese shows in its syllables
    return found if found is not None and re.search("[\u3040-\u30ff].*[\u3040-\u30ff]", found) else match[0]


def _decode_mailbox_name(match: re.Match[str]) -> str:
    """IMAP's own UTF-7, in which "&" and "," stand for "+" and "/"."""
    found = _written_in_utf_7(f"+{match[1].replace(',', '/')}-")
    return match[0] if found is None else found


def _decode_utf_7(match: re.Match[str]) -> str:
    found = _written_in_utf_7(match[0])
    return match[0] if found is None else found


def _written_in_utf_7(encoded: str) -> str | None:
    found = decoded(encoded.encode(), "utf-7")
    if not found or found.isascii():
        return None
    letters = [c for c in found if not c.isascii()]
    if not all(c.isalpha() or c in "«»„“”‘’–—…€ " for c in letters):
        return None
    is_latin = all("\u00c0" <= c <= "\u017f" for c in letters) and not any(c.isascii() for c in found)
    one_script = {unicodedata.name(c, "?").split()[0] for c in letters if c.isalpha()}
    # "+foo-" is a Chinese character in UTF-7, and is not meant so
    return found if is_latin or (len(letters) >= 3 and len(one_script) <= 2) else None
