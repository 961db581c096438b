"""Embeds a batch so that one bad text costs that text, not the batch; and a sick model is not taken for a bad text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

import numpy as np

from vaultembed.archive.vector_format import to_rows
from vaultembed.embeddings.stopping import Pace
from vaultembed.errors import ModelError, StoppedError
from vaultembed.models.errors import BadTextError, EmbedderCrashedError
from vaultembed.models.protocol import Embedder, Vectors

PROBE: Final = "The ferry leaves at nine, and grandmother has packed the sandwiches."

_GROUP: Final = 128
"""Texts of one call: what a bad one among them makes to be embedded again."""


@dataclass(frozen=True, slots=True)
class NoVector:
    """A text that the model cannot embed."""

    reason: str


@dataclass(slots=True)
class EmbeddedTexts:
    """What became of the texts of a batch."""

    results: list[Vectors | NoVector]
    """For each a vector, (dimension,), or why there is none; only of the first ones where the build is to stop."""
    tokens: int = 0


def embed_texts(embedder: Embedder, texts: Sequence[str], pace: Pace | None = None) -> EmbeddedTexts:
    """Embed documents, in steps that `pace` gives, and as long as it lets go on.

    Raises:
        ModelError: the model fails on a text that is known to be good. Nothing was found out about the batch.
        StoppedError: the build is to stop; not with `pace`.
    """
    results: dict[int, Vectors | NoVector] = {}
    tokens = begun = 0
    groups: list[list[tuple[int, str]]] = []
    with suppress(*(() if pace is None else (StoppedError,))):
        while (groups or begun < len(texts)) and not (pace is not None and pace.should_stop()):
            if not groups:
                following = texts[begun : begun + _GROUP]
                step = len(following) if pace is None else pace.step(following)
                groups.append(list(enumerate(following[:step], begun)))
                begun += step
            group = groups.pop()
            if not group:
                continue
            given = [text for _, text in group]
            started = time.monotonic()
            try:
                embedded = embedder.embed(given)
            except BadTextError as error:
                check_model(embedder)
                results[group[error.index][0]] = NoVector(error.reason)
                groups.append(group[: error.index] + group[error.index + 1 :])
            except EmbedderCrashedError as error:
                # an abort in native code takes the whole group along and does not say which text it was
                check_model(embedder)
                if len(group) == 1:
                    results[group[0][0]] = NoVector(error.message)
                else:
                    half = len(group) // 2
                    groups += [group[:half], group[half:]]
            else:
                tokens += embedded.tokens
                results.update((index, vector) for (index, _), vector in zip(group, embedded.vectors, strict=True))
                if pace is not None:
                    pace.learn(given, time.monotonic() - started)
    return EmbeddedTexts([results[i] for i in takewhile(results.__contains__, range(len(texts)))], tokens)


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


LEAST_COSINE: Final = 0.999
"""CPU and GPU, and float16 here and there, differ by less than 0.0001."""


def make_canary(embedder: Embedder) -> bytes:
    """float16, as vectors are stored. The model must have passed `check_model`."""
    return to_rows(embedder.embed([PROBE]).vectors)[0]


def check_canary(embedder: Embedder, canary: bytes, generation_id: int) -> float:
    """The cosine between what the model gives now and what it gave when the generation began.

    Raises:
        ModelError: they differ: its vectors and those of the generation cannot be compared.
    """
    then = np.frombuffer(canary, "<f2").astype(np.float32)
    now = embedder.embed([PROBE]).vectors[0]
    cosine = float(now @ then / max(float(np.linalg.norm(then)), 1e-9)) if now.shape == then.shape else 0.0
    if not cosine >= LEAST_COSINE:
        raise ModelError(
            f"the model {embedder.facts.name} gives other vectors now than when generation {generation_id} was begun"
            f" (cosine {cosine:.4f} for the same text): they cannot be compared",
            "Was llama.cpp or the model file replaced? Put it back, or embed anew with what there is now:"
            " vaultembed embeddings build --new",
        )
    return cosine
