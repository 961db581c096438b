"""Text that somebody else wrote, made safe to show in answers: on a terminal, as JSON, or to an assistant."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from vaultembed.text.visible import SUSPECT
from vaultembed.text.visible import one_line as one_line
from vaultembed.text.visible import valid as valid
from vaultembed.text.visible import visible as visible

T = TypeVar("T")


def escaped_json(document: str) -> str:
    """A JSON document that says the same and is safe to print: such characters as JSON's own escapes, `\\u202e`."""
    return SUSPECT.sub(lambda match: _as_utf16(match[0]), document)


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
        found = replace(found, **{one.name: shown(getattr(found, one.name), how) for one in fields(found) if one.init})
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
