"""What an import from msgvault tells: what was taken over, what was left out, and what is to be embedded again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from vaultembed.archive.database import Archive
from vaultembed.archive.generations.records import Generation, generation_with_id
from vaultembed.msgvault.batches import Tally
from vaultembed.msgvault.their_vectors import TheirGeneration


@dataclass(frozen=True, slots=True)
class AdoptedView:
    """One of msgvault's generations."""

    generation: int | None
    """Its id here; None where none of it was taken over."""
    origin_generation: int
    """Its id in vectors.db."""
    model: str
    dimension: int
    fingerprint: str
    state: str
    """There."""
    state_here: str | None
    """`retired` where another generation was in use here, or being built, already."""
    embedded: int
    """Messages whose vectors are taken over."""
    blank: int
    """Messages without text."""
    vectors: int
    here_already: int
    """Messages that it covers here already."""
    again: dict[str, int]
    """Live messages to be embedded again, by reason."""


@dataclass(frozen=True, slots=True)
class MsgvaultView:
    """One msgvault archive."""

    path: Path
    vectors: Path | None
    """Its vectors.db; None where there is none."""
    shape: str | None
    """Of its vectors.db: `V0` to `V3`; None where that was not read."""
    sources: int
    messages: int
    """In msgvault.db, deleted ones included."""
    deleted: int
    """Of these: deleted there."""
    beyond: int
    """Messages that vectors.db has vectors of, and msgvault.db does not have: later ones than its last."""
    elsewhere: int | None
    """Of these: not deleted here, since they stand elsewhere or were brought back; None before an import."""
    left_out: tuple[str, ...]
    """What is damaged and could not be taken over, each with the reason."""
    passed_over: tuple[str, ...]
    """Generations that were not taken over, each with the reason."""
    generations: tuple[AdoptedView, ...]


def adopted_view(theirs: TheirGeneration, here: Generation | None, tally: Tally) -> AdoptedView:
    return AdoptedView(
        generation=here.id if here else None,
        origin_generation=theirs.id,
        model=theirs.model,
        dimension=theirs.dimension,
        fingerprint=theirs.fingerprint,
        state=theirs.state,
        state_here=here.state if here else None,
        embedded=tally.embedded,
        blank=tally.blank,
        vectors=tally.vectors,
        here_already=tally.here_already,
        again=dict(sorted(tally.again.items())),
    )


def as_it_is_now(archive: Archive, view: MsgvaultView) -> MsgvaultView:
    """After models were compared: what waited for its model may be in use."""
    now = [
        each
        if each.generation is None
        else replace(each, state_here=generation_with_id(archive, each.generation).state)
        for each in view.generations
    ]
    return replace(view, generations=tuple(now))
