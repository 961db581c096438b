"""The passage of a text that shows best why it was found by words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

_SPACELESS: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"
)
_SPACE: Final = re.compile(r"\s")
_WHOLE_BELOW: Final = 4
_LONGEST_WORD: Final = 40
_NEW_START: Final = re.compile(r"\n\s*|[.!?…]\s+|[。！？]")


def best_passage(text: str, words: Sequence[str], width: int) -> tuple[int, int]:
    """The span (start, end) of about `width` characters with most different words, then most matches.

    A word matches at the beginning of a word of the text (anywhere in scripts without spaces), whatever its
    case and accents. The span is cut at word ends and has no white space at its ends; without any match it
    is the beginning of the text. Linear in the length of the text.
    """
    matches = _matches(text, words)
    if not matches:
        return _framed(text, 0, 0, width)
    seen: Counter[str] = Counter()
    best = (0, 0, 0, 0)  # distinct, matches, index of first, index of last
    left = 0
    for right, (_, end, word) in enumerate(matches):
        seen[word] += 1
        while left < right and end - matches[left][0] > width:
            seen[matches[left][2]] -= 1
            if not seen[matches[left][2]]:
                del seen[matches[left][2]]
            left += 1
        score = (len(seen), right - left + 1)
        if score > best[:2]:
            best = (*score, left, right)
    return _framed(text, matches[best[2]][0], matches[best[3]][1], width)


def _matches(text: str, words: Sequence[str]) -> list[tuple[int, int, str]]:
    folded_words = sorted({_folded(word)[0] for word in words if word.strip()}, key=len, reverse=True)
    if not folded_words:
        return []
    spaced = [_at_word_start(word) for word in folded_words if not _SPACELESS.search(word)]
    spaceless = [re.escape(word) for word in folded_words if _SPACELESS.search(word)]
    alternatives = ([rf"(?<!\w)(?:{'|'.join(spaced)})"] if spaced else []) + spaceless
    folded, offsets = _folded(text)
    found: list[tuple[int, int, str]] = []
    for match in re.finditer("|".join(alternatives), folded):
        start, end = match.span()
        if offsets is not None:
            start, end = offsets[start], offsets[end - 1] + 1
        found.append((start, end, match[0]))
    return found


def _at_word_start(word: str) -> str:
    # "a" must not match "at", while "boat" may match "boats"
    return re.escape(word) + (r"(?!\w)" if len(word) < _WHOLE_BELOW else "")


def _folded(text: str) -> tuple[str, list[int] | None]:
    """Casefolded without accents; and for each of its characters where in `text` it came from, if that differs."""
    if text.isascii():
        return text.lower(), None
    pieces = [_fold_character(character) for character in text]
    folded = "".join(pieces)
    if all(len(piece) == 1 for piece in pieces):
        return folded, None
    return folded, [index for index, piece in enumerate(pieces) for _ in piece]


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    if "\uac00" <= character <= "\ud7a3":  # a Hangul syllable is a letter, not a letter with accents
        return character
    decomposed = unicodedata.normalize("NFKD", character)
    return "".join(one for one in decomposed if not unicodedata.combining(one)).casefold()


def _framed(text: str, first: int, last: int, width: int) -> tuple[int, int]:
    """A span of about `width` around text[first:last], beginning at a sentence where one is near."""
    spare = max(0, width - (last - first))
    start = max(0, first - spare // 3)
    if start:
        openings = [match.end() for match in _NEW_START.finditer(text, start, first) if match.end() <= first]
        if openings:
            start = openings[0]
        else:
            space = _SPACE.search(text, start, first)
            start = space.end() if space else start
    end = min(len(text), max(last, start + width))
    if end < len(text) and not text[end].isspace():
        back = max(text.rfind(" ", last, end), text.rfind("\n", last, end))
        forward = _SPACE.search(text, end, end + _LONGEST_WORD)
        end = back if back > last else forward.start() if forward else end
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
