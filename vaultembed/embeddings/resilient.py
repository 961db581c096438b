"""Embeds a batch so that one bad text costs that text, not the batch; and a sick model is not taken for a bad text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vaultembed.errors import ModelError
from vaultembed.models.errors import BadTextError, EmbedderCrashedError
from vaultembed.models.protocol import Embedder, Vectors

PROBE: Final = "The ferry leaves at nine, and grandmother has packed the sandwiches."


@dataclass(slots=True)
class Batch:
    """What became of the texts of a batch: for each a vector (dimension,), or the reason why there is none."""

    results: list[Vectors | str]
    tokens: int = 0


@dataclass(slots=True)
class _Run:
    embedder: Embedder
    results: dict[int, Vectors | str] = field(default_factory=dict)
    tokens: int = 0


def embed_texts(embedder: Embedder, texts: Sequence[str]) -> Batch:
    """Embed documents.

    Raises:
        ModelError: the model fails on a text that is known to be good. Nothing was found out about the batch.
    """
    run = _Run(embedder)
    _embed(run, list(enumerate(texts)))
    return Batch([run.results[i] for i in range(len(texts))], run.tokens)


def _embed(run: _Run, texts: list[tuple[int, str]]) -> None:
    if not texts:
        return
    try:
        embedded = run.embedder.embed([text for _, text in texts])
    except BadTextError as error:
        check_model(run.embedder)
        run.results[texts[error.index][0]] = error.reason
        _embed(run, texts[: error.index] + texts[error.index + 1 :])
    except EmbedderCrashedError as error:
        # an abort in native code takes the whole batch along and does not say which text it was
        check_model(run.embedder)
        if len(texts) == 1:
            run.results[texts[0][0]] = error.message
            return
        half = len(texts) // 2
        _embed(run, texts[:half])
        _embed(run, texts[half:])
    else:
        run.tokens += embedded.tokens
        for (index, _), vector in zip(texts, embedded.vectors, strict=True):
            run.results[index] = vector


def check_model(embedder: Embedder) -> None:
    """Embed a text that is known to be good.

    Raises:
        ModelError: it fails, so no failure of a message can be told from the model's own.
    """
    try:
        embedder.embed([PROBE])
    except (BadTextError, EmbedderCrashedError) as error:
        raise ModelError(
            f"the model {embedder.facts.name} does not work: {error.message}",
            "No message was marked. Fetch the model again: vaultembed models pull",
        ) from error
