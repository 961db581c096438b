"""Text that somebody else wrote, made safe to show: on a terminal, on one line, or to an assistant.

Mail can hold characters that nobody sees and machines obey: escape sequences for a terminal, controls that turn the
direction of writing, characters of no width, and tag characters in which a whole hidden message can be spelled. They
are shown as `\\u{202e}`, so that nothing is hidden and nothing is lost.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")

_JOINERS: Final = "\u200c\u200d"
_VARIATIONS: Final = "\ufe0e\ufe0f"

# control, format, surrogate and unassigned-looking fillers; the selectors of variants, which can spell any byte
_SUSPECT: Final = re.compile(
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
    return _SUSPECT.sub(lambda match: _shown(text, match.start()), text)


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


def escaped_json(document: str) -> str:
    """A JSON document that says the same and is safe to print: such characters as JSON's own escapes, `\\u202e`."""
    return _SUSPECT.sub(lambda match: _as_utf16(match[0]), document)


def _as_utf16(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def shown(value: T, how: Callable[[str], str] = visible) -> T:
    """An answer with every text in it made safe: whatever field somebody adds, nothing is obeyed."""
    found: Any = value
    if isinstance(found, str):
        found = how(found)
    elif isinstance(found, Path):
        found = Path(how(str(found)))
    elif isinstance(found, list | tuple):
        found = type(found)(shown(item, how) for item in found)
    elif isinstance(found, dict):
        found = {shown(key, how): shown(item, how) for key, item in found.items()}
    elif is_dataclass(found) and not isinstance(found, type):
        found = replace(found, **{one.name: shown(getattr(found, one.name), how) for one in fields(found)})
    return cast(T, found)


class Fence:
    """Marks where untrusted text begins and ends, with a name that nobody who wrote it could know.

    One for each answer: whatever a message says, it cannot close the fence it stands in.
    """

    def __init__(self) -> None:
        self.name: Final = f"untrusted_mail_{secrets.token_hex(8)}"

    def line(self, text: str, most: int | None = None) -> str:
        """Text of a message, on one line."""
        return f"<{self.name}>{one_line(text, most)}</{self.name}>"

    def block(self, text: str) -> str:
        """Text of a message, as it is."""
        return f"<{self.name}>\n{visible(text)}\n</{self.name}>"
