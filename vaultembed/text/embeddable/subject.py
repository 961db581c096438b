"""Subjects without what clients and list servers put in front of them."""

from __future__ import annotations

import re
from typing import Final

# Reply and forward, as clients of many languages abbreviate them. The Italian "R:" and "I:" are left out:
# on lists about R, and in plain words, a letter and a colon begin a subject too often.
_REPLY: Final = (
    "re|reply|aw|antw|antwort|sv|vs|ref|rif|res|rép|rep|odp|odpověď|atb|ynt|yan|bls|ang|vast|απ"
    "|σχετ|отв|ответ|на"
    "|回复|回覆|答复|答覆|返信|답장|회신|תגובה|השב|رد"
)
_FORWARD: Final = (
    "fwd?|fw|forw|forward|wg|wtr|tr|rv|renv|enc|enviado|vb|vl|vid|videres|pd|doorst|fs|továbbítás"
    "|προθ|пересл|ilt|i̇lt"
    "|转发|轉寄|轉發|転送|전달|הועבר|إعادة توجيه"
)
_COUNT: Final = r"(?:\s?[\[(]\s?\d{1,4}\s?[\])]|[\^*]\d{1,4})?"
_PREFIX: Final = re.compile(rf"\s*(?:(?P<reply>{_REPLY})|(?P<forward>{_FORWARD})){_COUNT}\s?[:：]", re.IGNORECASE)
_TAG: Final = re.compile(r"\s*\[([^\[\]]{1,80})\]")
_FORWARDED: Final = re.compile(r"\s*\((?:fwd|fw|forward)\)\s*$", re.IGNORECASE)
# A list names itself in one word: [R-sig-Geo], [users]. [PATCH 2/3], [ANN] and [bug 1234] say something.
_LIST_NAME: Final = re.compile(r"^(?=.*[a-z])[^\W\d_][\w.&+-]*$")


def _peel(subject: str) -> tuple[str, list[str], bool, bool]:
    """The subject without prefixes, the tags among them, and whether replies and forwards were."""
    tags: list[str] = []
    replied = forwarded = False
    rest = subject.strip()
    without = _FORWARDED.sub("", rest[-200:]) if rest.endswith(")") else rest[-200:]
    if len(without) < len(rest[-200:]):
        rest, forwarded = rest[:-200] + without, True
    position = 0
    while True:
        prefix = _PREFIX.match(rest, position)
        if prefix:
            replied = replied or prefix["reply"] is not None
            forwarded = forwarded or prefix["forward"] is not None
            position = prefix.end()
            continue
        tag = _TAG.match(rest, position)
        if not tag or not rest[tag.end() :].strip():
            break
        tags.append(tag[1].strip())
        position = tag.end()
    return rest[position:].strip(), tags, replied, forwarded


def base_subject(subject: str) -> tuple[str, bool]:
    """What threads are compared by: no reply or forward prefixes, no tags in front, casefolded, one-spaced.

    Returns:
        The base, and whether there was a reply prefix. A subject of prefixes only has the base "".
    """
    rest, _tags, replied, _forwarded = _peel(subject)
    return " ".join(rest.casefold().split()), replied


def spoken_subject(subject: str) -> str:
    """The subject to embed: no reply and forward prefixes, no list names; tags that say something stay."""
    rest, tags, _replied, _forwarded = _peel(subject)
    kept = [f"[{tag}]" for tag in dict.fromkeys(tags) if not _LIST_NAME.match(tag)]
    return " ".join(" ".join([*kept, rest]).split())


def is_reply(subject: str) -> bool:
    return _peel(subject)[2]


def is_forward(subject: str) -> bool:
    """Whether the last thing done was to forward: "Fwd: Re: x" is a forward, "Re: Fwd: x" an answer to one."""
    rest = subject.strip()
    position = 0
    while tag := _TAG.match(rest, position):
        position = tag.end()
    prefix = _PREFIX.match(rest, position)
    if prefix:
        return prefix["forward"] is not None
    return bool(_FORWARDED.search(rest[-200:]))
