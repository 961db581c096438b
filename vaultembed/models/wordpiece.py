"""BERT's tokenizer: basic splitting, then WordPiece by greedy longest match (Devlin et al. 2018).

Our own because llama.cpp's differs from the original where mail does: it leaves Hangul syllables whole, strips the
spacing vowel signs of Devanagari and Tamil (Mc, not only Mn), and splits up words over 100 characters. And because
a process that only counts tokens then needs no native code.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from vaultembed.models.bert_characters import (
    CONTROL,
    IDEOGRAPH,
    MARK,
    PUNCTUATION,
    SPACE,
    character_class,
)

_WORD_START: Final = "\u2581"
"""How a GGUF vocabulary marks a piece that begins a word ("phantom space"); the others continue one."""

_LONGEST_WORD: Final = 100
"""Characters; a longer word is one unknown token (`max_input_chars_per_word` of the original)."""

_REMEMBERED_WORDS: Final = 1 << 16
"""Mail repeats its words: nearly all look-ups are answered from here. A few megabytes at most."""

_ALONE: Final = character_class(PUNCTUATION) + character_class(IDEOGRAPH)
_CONTROL: Final = re.compile(f"[{character_class(CONTROL)}]+")
_MARK: Final = re.compile(f"[{character_class(MARK)}]+")
_WORD: Final = re.compile(f"[{_ALONE}]|[^{_ALONE}{character_class(SPACE)}]+")
_ASCII_WORD: Final = re.compile(r"[a-zA-Z0-9]+|[!-/:-@\[-`{-~]")


class WordPiece:
    """Texts to token ids, the way the model was trained.

    Special tokens written out in a text ("[SEP]") are text. A lone surrogate counts as U+FFFD, which, like NUL, the
    original drops; the empty text is [CLS][SEP].
    """

    def __init__(
        self, pieces: Sequence[str], *, cls: int, sep: int, unknown: int, lowercase: bool, strip_accents: bool
    ) -> None:
        """`pieces`: as GGUF stores them, in the order of their ids."""
        self._first: dict[str, int] = {}
        self._later: dict[str, int] = {}
        for number, piece in enumerate(pieces):
            if piece.startswith(_WORD_START):
                self._first.setdefault(piece[1:], number)
            else:
                self._later.setdefault(piece, number)
        self._longest_piece = max((len(piece) for piece in pieces), default=1)
        self._cls, self._sep, self._unknown = cls, sep, unknown
        self._lowercase, self._strip_accents = lowercase, strip_accents
        self._remembered = lru_cache(_REMEMBERED_WORDS)(self._split)

    def encode(self, text: str) -> list[int]:
        ids = [self._cls]
        for word in self._words(text):
            if len(word) > _LONGEST_WORD:
                ids.append(self._unknown)
            else:
                ids += self._remembered(word)
        ids.append(self._sep)
        return ids

    def _words(self, text: str) -> Iterator[str] | list[str]:
        text = _CONTROL.sub("", text)
        if text.isascii():
            return _ASCII_WORD.findall(text.lower() if self._lowercase else text)
        if self._strip_accents:
            text = _MARK.sub("", unicodedata.normalize("NFD", text))
        if self._lowercase:
            # The original lowers one character at a time; `lower` would make a final sigma of the last one.
            text = text.replace("Σ", "σ").lower()
        return _WORD.findall(text)

    def _split(self, word: str) -> tuple[int, ...]:
        ids: list[int] = []
        start, known = 0, self._first
        while start < len(word):
            for end in range(min(len(word), start + self._longest_piece), start, -1):
                found = known.get(word[start:end])
                if found is not None:
                    break
            else:
                return (self._unknown,)
            ids.append(found)
            start, known = end, self._later
        return tuple(ids)
