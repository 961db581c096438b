"""Cutting a text into spans a model can take."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from vaultembed.text.embeddable.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a text, in code points; what it spans is not blank and has no white space at its ends."""

    char_start: int
    char_end: int


@dataclass(slots=True)
class _Segment:
    """A run of text that is not cut unless it must be."""

    start: int
    end: int
    level: int
    """How good a place to cut its end is: a key of _CUT_AT."""
    tokens: float
    """An estimate: the count of a group of neighbours, shared out by length."""


_ANYWHERE, _WORD, _LINE, _SENTENCE, _PARAGRAPH = range(5)

_BOUNDARY: Final = re.compile(
    r"""(?P<paragraph>\n[^\S\n]*\n\s*)
      | (?P<line>\n)
      | (?P<sentence>[.!?…]["'”’»)\]]{0,3}\s(?!\s*\n) | [。！？｡؟।॥]["”’」』）]{0,3})""",
    re.VERBOSE,
)
_LONGEST_SEGMENT: Final = 200  # characters; above the length of most sentences, below 256 tokens of most text
_COUNTED_TOGETHER: Final = 160  # characters; short lines are counted in groups, so that calls stay linear in length
_WORD_END: Final = re.compile(r"\s+")
_MOST_CHARS_PER_TOKEN: Final = 64  # a text longer than this per token is not even tried whole
_FULL_ENOUGH: Final = 0.5  # of a chunk: from here on a better place to cut is worth more than a fuller chunk
_EXTENDERS: Final = frozenset("\u200d\ufe0e\ufe0f")
_LONGEST_CLUSTER: Final = 16


def text_hash(text: str) -> bytes:
    """16 bytes, of a chunk's text; equal texts in a generation are embedded once."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def chunking_tag(max_tokens: int, overlap_tokens: int) -> str:
    """How the fingerprint names this chunking, e.g. "t256o32"."""
    return f"t{max_tokens}o{overlap_tokens}"


def chunk_text(
    text: str, tokenizer: Tokenizer, max_tokens: int, overlap_tokens: int, most: int | None = None
) -> list[Chunk]:
    """Spans of `text`, in order, that together hold every character that is not white space; or the first `most` of
    them, for which no more of the text is counted than they take.

    Each has at most `max_tokens` by the tokenizer's own count of exactly that slice. Cuts fall at the end of
    a paragraph, else a sentence, a line, a word, and anywhere only in words too long for a chunk. A chunk
    begins with about `overlap_tokens` of what the one before ended with, from a sentence or word on. The
    number of tokenizer calls is linear in the length of the text; a text that fits costs one.

    Raises:
        ValueError: `max_tokens` leaves no room beside what the tokenizer adds to every text, or for a single
            character; or `overlap_tokens` is negative or not below `max_tokens`.
    """
    if not 0 <= overlap_tokens < max_tokens:
        raise ValueError(f"overlap_tokens must be from 0 to below max_tokens={max_tokens}, not {overlap_tokens}")
    whole = _stripped(text, 0, len(text))
    if whole is None:
        return []
    may_fit = len(text) <= max_tokens * _MOST_CHARS_PER_TOKEN
    if may_fit and tokenizer.count_tokens(text[whole.char_start : whole.char_end]) <= max_tokens:
        return [whole]
    return list(islice(_Chunker(text, tokenizer, max_tokens, overlap_tokens).chunks(), most))


def _stripped(text: str, start: int, end: int) -> Chunk | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Chunk(start, end) if start < end else None


class _Chunker:
    def __init__(self, text: str, tokenizer: Tokenizer, max_tokens: int, overlap_tokens: int) -> None:
        self._text = text
        self._tokenizer = tokenizer
        self._max = max_tokens
        self._overlap = overlap_tokens
        self._overhead = tokenizer.count_tokens("")
        if self._overhead >= max_tokens:
            raise ValueError(
                f"max_tokens={max_tokens} leaves no room: this tokenizer adds {self._overhead} to every text"
            )
        self._room = max_tokens - self._overhead
        self._segments = _segments(text)
        self._measured = 0  # so many of them, from the first on

    def chunks(self) -> Iterator[Chunk]:
        before: Chunk | None = None
        first = 0  # the next segment that is in no chunk yet
        while first < len(self._segments):
            start = self._overlap_start(first, before.char_start) if before else self._segments[first].start
            last = self._last_that_fits(first, start)
            if last < first and start < self._segments[first].start:
                start = self._segments[first].start
                last = self._last_that_fits(first, start)
            if last < first:
                self._split(first)
                continue
            if last + 1 < len(self._segments):
                last = self._best_cut(first, last, start)
            chunk = _stripped(self._text, start, self._segments[last].end)
            if chunk is not None and (before is None or chunk.char_end > before.char_end):
                before = chunk
                yield chunk
            first = last + 1

    def _count(self, start: int, end: int) -> int:
        span = _stripped(self._text, start, end)
        return self._tokenizer.count_tokens(self._text[span.char_start : span.char_end]) if span else 0

    def _tokens(self, index: int) -> float:
        segments = self._segments
        while self._measured <= index:
            begin = self._measured
            end = begin + 1
            while end < len(segments) and segments[end].end - segments[begin].start <= _COUNTED_TOGETHER:
                end += 1
            chars = segments[end - 1].end - segments[begin].start
            tokens = max(1, self._count(segments[begin].start, segments[end - 1].end) - self._overhead)
            for segment in segments[begin:end]:
                segment.tokens = tokens * (segment.end - segment.start) / chars
            self._measured = end
        return segments[index].tokens

    def _last_that_fits(self, first: int, start: int) -> int:
        """The last segment so that the text from `start` to its end fits; `first - 1` if not even one does."""
        segments = self._segments
        used = 0.0
        if start < segments[first].start:
            used = max(0, self._count(start, segments[first].start) - self._overhead)
        last = first - 1
        while last + 1 < len(segments) and used + self._tokens(last + 1) <= self._room:
            last += 1
            used += self._tokens(last)
        last = max(last, first)
        while last >= first:
            excess = self._count(start, segments[last].end) - self._max
            if excess <= 0:
                return last
            # Counts do not add up exactly. Take off what is too much by the estimate, at least one segment.
            while last >= first and excess > 0:
                excess -= max(1, int(self._tokens(last)))
                last -= 1
        return first - 1

    def _best_cut(self, first: int, last: int, start: int) -> int:
        segments = self._segments
        begin, end = start, segments[last].end
        best = last
        for index in range(last - 1, first - 1, -1):
            if segments[index].end - begin < (end - begin) * _FULL_ENOUGH:
                break
            if segments[index].level > segments[best].level:
                best = index
        # Shorter is not always fewer tokens, although almost: the cut is taken only if it counts as it should.
        if best != last and self._count(start, segments[best].end) > self._max:
            return last
        return best

    def _overlap_start(self, first: int, previous_start: int) -> int:
        """Where the chunk that continues with segment `first` begins, to repeat the end of the one before."""
        segments = self._segments
        end = segments[first].start
        if not self._overlap:
            return end
        taken = 0.0
        index = first
        while index > 0 and taken + segments[index - 1].tokens <= self._overlap:
            index -= 1
            taken += segments[index].tokens
        start = segments[index].start
        if index == first:  # the last sentence alone is longer: from one of its words on
            segment = segments[first - 1]
            chars = int((segment.end - segment.start) * self._overlap / segment.tokens)
            space = _WORD_END.search(self._text, max(segment.start, end - chars), end)
            start = space.end() if space else end
        return start if start > previous_start else end

    def _split(self, index: int) -> None:
        """Replaces a segment that is too long alone by its halves, cut at a word if there is one."""
        segment = self._segments[index]
        middle = _cut_near(self._text, segment.start, segment.end, (segment.start + segment.end) // 2)
        if middle is None:
            raise ValueError(
                f"max_tokens={self._max} is too small for the character {self._text[segment.start : segment.end]!r}"
            )
        position, level = middle
        halves = [
            _Segment(segment.start, position, level, segment.tokens / 2),
            _Segment(position, segment.end, segment.level, segment.tokens / 2),
        ]
        for half in halves:
            half.tokens = max(1, self._count(half.start, half.end) - self._overhead)
        self._segments[index : index + 1] = halves
        self._measured += 1


def _segments(text: str) -> list[_Segment]:
    found: list[_Segment] = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        level = _PARAGRAPH if match["paragraph"] else _LINE if match["line"] else _SENTENCE
        _add(found, text, start, match.end(), level)
        start = match.end()
    if start < len(text):
        _add(found, text, start, len(text), _PARAGRAPH)
    return found


def _add(found: list[_Segment], text: str, start: int, end: int, level: int) -> None:
    while end - start > _LONGEST_SEGMENT:
        cut = _cut_near(text, start, start + _LONGEST_SEGMENT + 1, start + _LONGEST_SEGMENT)
        position, cut_level = cut or (start + _LONGEST_SEGMENT, _ANYWHERE)
        found.append(_Segment(start, position, cut_level, 0.0))
        start = position
    found.append(_Segment(start, end, level, 0.0))


def _cut_near(text: str, start: int, end: int, near: int) -> tuple[int, int] | None:
    """A position inside (start, end) to cut at: after white space before `near`, else after it, else `near`."""
    for position in range(near, start, -1):
        if text[position - 1].isspace() and position < end and not text[position].isspace():
            return position, _WORD
    space = _WORD_END.search(text, near, end)
    if space and space.end() < end:
        return space.end(), _WORD
    for position in range(near, max(start, near - _LONGEST_CLUSTER), -1):
        if start < position < end and not _continues(text, position):
            return position, _ANYWHERE
    return (near, _ANYWHERE) if start < near < end else None


def _continues(text: str, position: int) -> bool:
    """Whether the character at `position` belongs to the one before: an accent, a joined emoji, a skin tone."""
    here, before = text[position], text[position - 1]
    return (
        unicodedata.combining(here) != 0
        or here in _EXTENDERS
        or before == "\u200d"
        or "\U0001f3fb" <= here <= "\U0001f3ff"
        or (here == "\n" and before == "\r")
    )
