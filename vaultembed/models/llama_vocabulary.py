"""Tokenising with llama.cpp, for vocabularies other than WordPiece."""

from __future__ import annotations

import ctypes
from pathlib import Path

from llama_cpp import llama_cpp as llama

from vaultembed.models.llama_library import load_model


class LlamaVocabulary:
    """A model loaded without its weights. Lives as long as the process uses the model."""

    def __init__(self, path: Path) -> None:
        self._model = load_model(path, vocab_only=True)
        self._vocabulary = llama.llama_model_get_vocab(self._model)

    def encode(self, text: str) -> list[int]:
        content = text.encode("utf-8", "replace")  # a lone surrogate becomes "?"
        room = len(content) + 16
        while True:
            ids = (ctypes.c_int32 * room)()
            # Special tokens of the model are added; those spelled out in the text stay text.
            count = llama.llama_tokenize(self._vocabulary, content, len(content), ids, room, True, False)
            if count >= 0:
                return ids[:count]
            room = -count

    def __del__(self) -> None:
        if getattr(self, "_model", None):
            llama.llama_model_free(self._model)
            self._model = None
