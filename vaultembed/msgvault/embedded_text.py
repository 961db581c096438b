"""The text that another program embedded, told from what it kept of it: its length.

msgvault keeps no copy of the text that it made of a message, and offsets into it. Most mail is simple enough for that
text to be one of a few; the right one is the one of the right length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vaultembed.text.embeddable.prepare import prepare_text

_SPACES = re.compile(r"[ \t]+")
_EMPTY_LINES = re.compile(r"\n{3,}")


def candidates(subject: str, body: str, has_subject: bool | None = None) -> Iterator[str]:
    """Texts that may have been made of a message, the likeliest first.

    `has_subject`: whether it began with "Subject: …"; None where that is not known.
    """
    seen = set()
    stripped = body.strip()
    lines = "\n".join(line.rstrip() for line in stripped.splitlines())
    tidy = _EMPTY_LINES.sub("\n\n", "\n".join(_SPACES.sub(" ", line).strip() for line in lines.splitlines()))
    bodies = (body, stripped, lines, _EMPTY_LINES.sub("\n\n", lines), tidy, " ".join(body.split()))
    for form in bodies:
        for with_subject in (True, False):
            if has_subject is not None and with_subject != has_subject:
                continue
            text = f"Subject: {subject}\n\n{form}" if with_subject else form
            for one in (text, text.strip()):
                if one and one not in seen:
                    seen.add(one)
                    yield one
    own = prepare_text(subject, body)
    if own and own not in seen:
        yield own


def embedded_text(subject: str, body: str, length: int, has_subject: bool | None = None) -> str | None:
    """The text of `length` code points that was made of a message; None where none of the likely ones has it."""
    return next((text for text in candidates(subject, body, has_subject) if len(text) == length), None)
