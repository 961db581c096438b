"""What a text that was stored wrongly should be, by the best evidence there is.

In this order: the message as it was sent, read by today's decoder; an encoding that was left on; what the bytes
themselves say of their charset; the undoing of a wrong reading; and U+FFFD, for what is no text at all.
"""

from __future__ import annotations

import base64
import quopri
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from vaultembed.text.charsets import clean, decoded
from vaultembed.text.garbled.misread import read_again, read_bytes
from vaultembed.text.garbled.mojibake import undo
from vaultembed.text.garbled.suspicion import (
    BROKEN,
    ENCODED_WORD,
    ESCAPES,
    LOST_ESCAPES,
    PARAMETER,
    Doubt,
    Kind,
    doubt_of,
    is_base64,
    oddness,
)
from vaultembed.text.garbled.undecoded import take_off

Method = Literal["raw", "decoded", "detected", "reversed", "replaced"]
"""raw: read again from the message as it was sent. decoded: an encoding that was left in it is taken off. detected: its
bytes are in another charset. reversed: a wrong reading is undone. replaced: bytes that are no text give way to U+FFFD.
"""


@dataclass(frozen=True, slots=True)
class Repaired:
    text: str
    method: Method
    confidence: float
    """From 0 to 1."""


def repair(stored: bytes, kind: Kind, sent: Callable[[], str | None]) -> Repaired | None:
    """What a stored text should be; None where it is to be left as it is.

    Args:
        stored: the text as bytes, valid UTF-8 or not.
        kind: "header" for one line of a header, as subject, name or file name.
        sent: reads the same text from the message as it was sent; None where that is not there. Called for suspects.
    """
    doubt = doubt_of(stored, kind)
    if doubt is Doubt.NONE:
        return None
    shown = _lenient(stored)
    evidence = sent()
    if evidence is not None:
        found = _by_raw(stored, shown, evidence, kind, doubt)
        if found is not None:
            return found if found.text.encode() != stored else None
    for attempt in (_by_decoding, _by_charset, _by_reversal):
        found = attempt(stored, kind)
        if found is not None and found.text.encode() != stored:
            return found
    return None


def _lenient(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")


# From the message as it was sent -----------------------------------------------------------------------------------


def _by_raw(stored: bytes, shown: str, evidence: str, kind: Kind, doubt: Doubt) -> Repaired | None:
    evidence_bytes = evidence.encode("utf-8", "replace")
    undone = undo(evidence)
    if undone is not None:  # it was sent like that
        evidence, evidence_bytes = undone.text, undone.text.encode()
    if evidence_bytes == stored and doubt is Doubt.SOME:
        # as it was sent; only a charset that the sender declared wrongly, or not at all, may be the matter
        again = read_again(evidence)
        return Repaired(evidence, "raw", 1.0) if again is None else Repaired(again, "detected", 0.7)
    if evidence_bytes == stored:
        return None
    if not evidence.strip() or doubt_of(evidence_bytes, kind) > min(doubt, Doubt.SOME):
        return None
    if evidence.count("\ufffd") > shown.count("\ufffd"):
        return None
    likeness = _likeness(shown, evidence)
    if likeness < (0.9 if doubt is Doubt.SOME else 0.5):
        return None  # it differs for other reasons than its charset
    if doubt is Doubt.SOME and oddness(evidence) > oddness(shown):
        return None
    return Repaired(evidence, "reversed" if undone is not None else "raw", round(likeness, 2))


def _skeleton(text: str) -> str:
    """What every charset has in common."""
    text = ESCAPES.sub("", text)
    return "".join(c for c in text if c.isascii() and c.isalnum())


def _likeness(shown: str, evidence: str) -> float:
    """Of what both say in ASCII, from 0 to 1."""
    one, other = _skeleton(shown), _skeleton(evidence)
    if shown.isascii() and "?" in shown:  # each letter that was lost
        if re.sub(r"[^\x00-\x7f]+", "?", evidence) == re.sub(r"\?+", "?", shown):
            return 1.0
    elif one == other and len(one) * 5 >= len(evidence):
        return 1.0
    if _cannot_be_meant(shown):
        return 0.95  # nothing of it can be compared
    if one == other:
        return _likeness_of_marks(shown, evidence)
    if (unwrapped := _unwrapped(shown)) is not None:
        return 1.0 if _skeleton(unwrapped) == other else 0.0
    if not one or not other:
        # of a text wholly in another script a stray letter or two may show
        return 0.9 if max(len(one), len(other)) * 5 <= max(len(shown), len(evidence)) else 0.0
    return _in_common(one, other)


def _in_common(one: str, other: str) -> float:
    """Of the sequences of three characters in two texts, from 0 to 1 (Dice's coefficient). Linear: a longest common
    subsequence takes minutes for a mail made for that."""
    counts = [Counter(text[i : i + 3] for i in range(max(1, len(text) - 2))) for text in (one, other)]
    total = sum(counts[0].values()) + sum(counts[1].values())
    return 2 * sum((counts[0] & counts[1]).values()) / total


def _likeness_of_marks(shown: str, evidence: str) -> float:
    """Of texts in another script, which have no letters in common: of spaces, stops and line ends."""
    one, other = (re.sub(r"[^\x00-\x7f]+", "x", " ".join(text.split())) for text in (shown, evidence))
    if one != other:
        return _in_common(one, other) * 0.9
    if "\ufffd" in shown:
        return 1.0
    # a charset makes each word longer by about as much
    factors = [len(a) / len(b) for a, b in zip(_FOREIGN.findall(shown), _FOREIGN.findall(evidence), strict=False)]
    if not factors or max(factors) > 1.7 * min(factors):
        return 0.0
    # of one word there is nothing to compare but how odd it is
    return 1.0 if len(factors) > 1 or oddness(evidence) < oddness(shown) else 0.0


_FOREIGN: Final = re.compile(r"[^\x00-\x7f]+")


def _cannot_be_meant(shown: str) -> bool:
    if shown.count("\ufffd") * 5 > len(shown) or "\0" in shown:
        return True
    signs = (ENCODED_WORD, PARAMETER, ESCAPES, LOST_ESCAPES, _GB_SHIFT, _KR_SHIFT)
    return any(found.search(shown) for found in signs)


_GB_SHIFT: Final = re.compile(r"~\{[!-~]{1,400}?~\}")
_KR_SHIFT: Final = re.compile(r"^\$\)C")


def _unwrapped(shown: str) -> str | None:
    """What a body is whose transfer encoding was left on, as far as it is ASCII; None of any other."""
    if not shown.isascii():
        return None
    if re.search("=[89A-F][0-9A-F]", shown):
        return quopri.decodestring(shown.encode()).decode("latin-1")
    if is_base64(shown):
        try:
            return base64.b64decode(shown, validate=False).decode("latin-1")
        except ValueError:
            return None
    return unquote_to_bytes(shown).decode("latin-1") if "%" in shown else None


# From the text itself ----------------------------------------------------------------------------------------------


def _by_decoding(stored: bytes, kind: Kind) -> Repaired | None:
    text = take_off(_lenient(stored), kind)
    return None if text is None else Repaired(_undone(text), "decoded", 0.95)


def _undone(text: str) -> str:
    undone = undo(text)
    return text if undone is None else undone.text


def _by_charset(stored: bytes, _kind: Kind) -> Repaired | None:
    text = decoded(stored, "utf-8")
    if text is not None:
        again = read_again(text)
        return None if again is None else Repaired(again, "detected", 0.7)
    read = read_bytes(stored)
    return Repaired(_undone(read.text), "detected" if read.is_whole else "replaced", read.confidence)


# Nobody writes these controls; Windows has its quotation marks and dashes there.
_WINDOWS_MARK: Final = re.compile("[\x80\x82-\x8c\x8e\x91-\x9c\x9e\x9f]")


def _by_reversal(stored: bytes, _kind: Kind) -> Repaired | None:
    text = decoded(stored, "utf-8")
    if text is None:
        return None
    undone = undo(text)
    if undone is not None:
        return Repaired(undone.text, "reversed", round(1 - 0.5 ** min(undone.sequences + 1, 6), 2))
    if _WINDOWS_MARK.search(text):
        found = _WINDOWS_MARK.sub(lambda match: bytes([ord(match[0])]).decode("cp1252", "replace"), text)
        return Repaired(clean(found), "reversed", 0.9) if not BROKEN.search(found) else None
    if "\x00" in text:
        return Repaired(clean(text), "replaced", 0.9)
    return None
