"""Text that somebody else wrote, made safe to show: on a terminal, or on one line.

Mail can hold characters that nobody sees and machines obey: escape sequences for a terminal, controls that turn the
direction of writing, characters of no width, and tag characters in which a whole hidden message can be spelled. They
are shown as `\\u{202e}`, so that nothing is hidden and nothing is lost.
"""

from __future__ import annotations

import re
from typing import Final

_JOINERS: Final = "\u200c\u200d"
_VARIATIONS: Final = "\ufe0e\ufe0f"

# control, format, surrogate and unassigned-looking fillers; the selectors of variants, which can spell any byte
SUSPECT: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_LONE: Final = re.compile("[\ud800-\udfff]")
# scripts in which a joiner changes how a word is written, and pictures that are made of several
_JOINING: Final = re.compile("[\u0600-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc]")
_PICTURE: Final = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff\ufe0f]"
)
_HAS_STYLES: Final = re.compile(
    "[#*0-9\u00a9\u00ae\u203c\u2049\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)


def visible(text: str) -> str:
    """`text` with every character that is not seen, or that a terminal obeys, written out; line breaks and tabs stay.

    A joiner stays where the script needs it or a picture is made with it, and a single selector of a picture's style.
    """
    return SUSPECT.sub(lambda match: _shown(text, match.start()), text)


def _shown(text: str, at: int) -> str:
    character = text[at]
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if character in _JOINERS and _may_be_joined(before) and _may_be_joined(after):
        return character
    if character in _VARIATIONS and _HAS_STYLES.fullmatch(before):
        return character
    return _written_out(ord(character))


def _may_be_joined(character: str) -> bool:
    return bool(_JOINING.fullmatch(character) or _PICTURE.fullmatch(character))


def valid(text: str) -> str:
    r"""`text` without lone surrogates, which neither JSON nor SQLite takes. One that stands for a byte of an argument
    or a path that is no UTF-8 becomes `\xff`, as where the archive names a place."""
    return _LONE.sub(lambda match: _written_out(ord(match[0])), text)


def _written_out(number: int) -> str:
    is_byte = 0xDC80 <= number <= 0xDCFF
    return f"\\x{number - 0xDC00:02x}" if is_byte else f"\\u{{{number:x}}}"


def one_line(text: str, most: int | None = None) -> str:
    """`visible`, on a single line and of at most `most` characters: a subject, a name, a label."""
    if most is not None and len(text) > 4 * most:
        text = text[: 4 * most]  # a subject of a megabyte is not looked at to its end
    shown = " ".join(visible(" ".join(text.split())).split())
    return shown if most is None or len(shown) <= most else shown[: most - 1] + "…"
