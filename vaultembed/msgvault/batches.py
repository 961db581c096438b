"""Walks over a msgvault archive in batches, for an import or to say beforehand what one would do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vaultembed.archive.database import Archive
from vaultembed.archive.generations.adopted import Origin, Standing, is_as_stored, standing
from vaultembed.archive.generations.outcomes import ChunkRow, MessageOutcome
from vaultembed.archive.generations.records import Generation
from vaultembed.archive.generations.work import read_work
from vaultembed.archive.vector_format import to_rows
from vaultembed.msgvault.files import ForeignDamageError, ForeignDatabase
from vaultembed.msgvault.their_messages import TheirMessage, read_messages
from vaultembed.msgvault.their_vectors import BLANK, Covered, TheirGeneration, TheirVectors, Why
from vaultembed.text.embeddable.chunking import text_hash
from vaultembed.text.embeddable.prepare import prepare_text

BATCH_MESSAGES: Final = 400
_BATCH_RAW_BYTES: Final = 8 * 1024 * 1024
"""Of messages as they were sent, compressed: several times as much unpacked."""


@dataclass(frozen=True, slots=True)
class UnreadableMessage:
    message_id: int
    why: str


def batches(
    database: ForeignDatabase, ids: Sequence[int]
) -> Iterator[tuple[list[TheirMessage], list[UnreadableMessage]]]:
    """All messages of `ids`, and those of them that cannot be read; a batch is bounded in number and in size."""
    for start in range(0, len(ids), BATCH_MESSAGES):
        found, unreadable = _read(database, ids[start : start + BATCH_MESSAGES])
        part: list[TheirMessage] = []
        size = 0
        for message in found:
            if part and size + message.raw_size > _BATCH_RAW_BYTES:
                yield part, []
                part, size = [], 0
            part.append(message)
            size += message.raw_size
        yield part, unreadable


def _read(database: ForeignDatabase, ids: Sequence[int]) -> tuple[list[TheirMessage], list[UnreadableMessage]]:
    try:
        return read_messages(database, ids), []
    except ForeignDamageError as error:
        if len(ids) == 1:
            return [], [UnreadableMessage(ids[0], error.message)]
    # halves: of 400, one bad page costs some twenty readings
    middle = len(ids) // 2
    first, bad = _read(database, ids[:middle])
    second, more = _read(database, ids[middle:])
    return first + second, bad + more


def origin_of(vectors: TheirVectors, generation: TheirGeneration) -> Origin:
    return Origin(
        path=str(vectors.origin.resolve()),
        id=generation.id,
        model=generation.model,
        dimension=generation.dimension,
        fingerprint=generation.fingerprint,
        started_at=generation.started_at,
        state=generation.state,
        recipe=generation.recipe,
    )


_REASONS: Final = (
    "edited here",
    "changed",
    "not certain",
    "vectors unusable",
    "vectors missing",
    "unknown stamp",
    "never embedded",
)


@dataclass(slots=True)
class Tally:
    """What becomes of the messages of one of msgvault's generations. `tell` it of each live one."""

    embedded: int = 0
    blank: int = 0
    vectors: int = 0
    here_already: int = 0
    """Messages with a current outcome in it here."""
    _open: dict[Hashable, str] = field(default_factory=dict)
    _done: set[Hashable] = field(default_factory=set)

    def is_done(self, message: Hashable) -> bool:
        """Whether one that was told of is covered."""
        return message in self._done

    def tell(self, message: Hashable, here: Standing, verdict: Covered | Why) -> None:
        """`message`: what it is here. Two of msgvault's may be one, of which one is covered."""
        if message in self._done or here == "deleted here":
            return
        if here in ("covered", "adopted"):
            self.here_already += 1
        elif here == "edited here" or isinstance(verdict, str):
            # of several copies, that of which most is there
            why = here if here == "edited here" else str(verdict)
            self._open[message] = min(why, self._open.get(message, why), key=_REASONS.index)
            return
        else:
            self.embedded += bool(verdict.chunks)
            self.blank += not verdict.chunks
            self.vectors += len(verdict.chunks)
        self._done.add(message)
        self._open.pop(message, None)

    @property
    def again(self) -> Counter[str]:
        """Live messages to be embedded again, by reason."""
        return Counter(self._open.values())


@dataclass(frozen=True, slots=True)
class Settled:
    """What msgvault's verdict on a message means for what is here of it."""

    here: Standing
    verdict: Covered | Why
    outcome: MessageOutcome | None = None
    """To be written."""
    is_disowned: bool = False
    """What was taken over of it before is not vouched for any more; unless another copy of it is."""


def settle(
    archive: Archive,
    here: Generation | None,
    theirs: TheirGeneration,
    at: tuple[int, int],
    verdict: Covered | Why,
    *,
    is_damaged: bool,
) -> Settled:
    """`at`: the message here, and its content_rev with the text from there. What is lost or damaged there says nothing
    against what is here."""
    message_id, content_rev = at
    found = standing(archive, here.id if here else None, message_id, content_rev)
    if found not in ("open", "adopted"):
        return Settled(found, verdict)
    if isinstance(verdict, Covered) and verdict.is_as_stored:
        # or it was, a moment ago: then the next import looks at it
        return Settled(found, verdict if found == "adopted" else "not certain")
    work = read_work(archive, [message_id])
    if verdict == BLANK and any(prepare_text(each.subject, each.body_text) for each in work):
        verdict = "vectors missing"
    if found == "adopted" and (is_damaged or verdict in ("vectors missing", "vectors unusable")):
        return Settled("adopted", verdict)
    if isinstance(verdict, str):
        return Settled("open", verdict, is_disowned=found == "adopted")
    words = words_of("\n".join(f"{each.subject}\n{each.body_text}" for each in work))
    outcome = adopted_outcome(verdict, message_id, content_rev, words)
    if found == "adopted" and here is not None and is_as_stored(archive, here.id, theirs.recipe, outcome):
        return Settled("adopted", verdict)
    return Settled("open", verdict, outcome)


def adopted_outcome(covered: Covered, message_id: int, content_rev: int, words_here: Set[str]) -> MessageOutcome:
    """What msgvault made of a message, as an outcome here: embedded, or blank without chunks. Passages are shown of its
    text, where that could be told; unless it is garbled there, and of other words than the message here."""
    text, chunks = covered.text, covered.chunks
    if text is not None and 2 * len((words := words_of(text)) & words_here) < len(words):
        text = None
    rows = to_rows(np.stack([chunk.vector for chunk in chunks])) if chunks else []
    return MessageOutcome(
        message_id,
        content_rev,
        "embedded" if chunks else "blank",
        None,
        text,
        tuple(
            ChunkRow(
                chunk.char_start,
                chunk.char_end,
                # what cannot be told is equal to no other text
                text_hash((text or "")[chunk.char_start : chunk.char_end] or f"\0{chunk.embedding_id}"),
                row,
                chunk.embedded_at,
            )
            for chunk, row in zip(chunks, rows, strict=True)
        ),
        in_part=any(chunk.is_truncated for chunk in chunks),
    )


def words_of(text: str) -> Set[str]:
    return set(re.findall(r"\w+", text.lower()))
