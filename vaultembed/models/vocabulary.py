"""From a text to the token ids of a model, and how many they are."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from vaultembed.models.gguf_header import Header, MalformedError, read_header
from vaultembed.models.wordpiece import WordPiece

_PIECES: Final = "tokenizer.ggml.tokens"


class Vocabulary(Protocol):
    def encode(self, text: str) -> list[int]:
        """Token ids, the model's special tokens included. Nothing is cut off."""
        ...


def open_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary of a .gguf that `inspect_file` let through.

    A WordPiece vocabulary needs no native code; any other loads the vocabulary, without the weights, into llama.cpp.
    """
    header = read_header(path, frozenset({_PIECES}))
    if header.text("tokenizer.ggml.model") == "bert":
        return _wordpiece(header)
    from vaultembed.models.llama_vocabulary import LlamaVocabulary

    return LlamaVocabulary(path)


def _wordpiece(header: Header) -> WordPiece:
    pieces = header.texts(_PIECES)
    cls = header.integer(
        "tokenizer.ggml.cls_token_id", header.integer("tokenizer.ggml.bos_token_id", _id(pieces, "[CLS]"))
    )
    # "seperator" is how GGUF spells it.
    sep = header.integer("tokenizer.ggml.seperator_token_id", _id(pieces, "[SEP]"))
    unknown = header.integer("tokenizer.ggml.unknown_token_id", _id(pieces, "[UNK]"))
    if not all(0 <= number < len(pieces) for number in (cls, sep, unknown)):
        raise MalformedError("is damaged: its vocabulary has no special tokens")
    return WordPiece(
        pieces,
        cls=cls,
        sep=sep,
        unknown=unknown,
        lowercase=header.flag("tokenizer.ggml.normalizer.lowercase", "yes"),
        strip_accents=header.flag("tokenizer.ggml.normalizer.strip_accents", "yes"),
    )


def _id(pieces: list[str], piece: str) -> int:
    return pieces.index(piece) if piece in pieces else -1
