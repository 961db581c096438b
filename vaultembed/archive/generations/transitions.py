"""Changes of a generation's state, each one transaction, and the renewal of stamps that follows some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.records import (
    Generation,
    coverage_of,
    generation_in_state,
    generation_to_fill,
    generation_with_id,
)
from vaultembed.errors import BusyError, IncompleteError, UsageError, VaultembedError
from vaultembed.failpoints import failpoint

_RESTAMP_BATCH: Final = 2_000


class UnverifiedError(IncompleteError):
    """Nothing vouches for the vectors of a generation as they are."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(
            f"generation {generation.id} has not passed verification since a vector was last written to it",
            f"Verify it: vaultembed embeddings verify {generation.id}. Or use it as it is:"
            f" vaultembed embeddings activate {generation.id} --force",
        )
        self.generation = generation


def activate(archive: Archive, generation_id: int, most_failed: int, *, force: bool = False) -> bool:
    """Make a complete generation, built or retired, the active one and retire the one before. False: it was active.

    Raises:
        IncompleteError: messages are missing, more than `most_failed` failed, or it is to be verified
            (UnverifiedError). `force` does it all the same.
        VaultembedError: it covers nothing, was discarded, or its vectors were pruned. `force` does not help.
    """
    with archive.transaction():
        generation = generation_with_id(archive, generation_id)
        if generation.state == "active":
            return False
        _check_has_vectors(generation)
        coverage = coverage_of(archive, generation_id)
        if not coverage.embedded + coverage.blank + coverage.failed:
            raise VaultembedError(
                f"generation {generation_id} is empty: it covers none of {coverage.live:,} messages",
                "Build it first: vaultembed embeddings build",
            )
        if coverage.missing and not force:
            go_on = "vaultembed embeddings build" if generation.state == "building" else generation.build_command
            raise IncompleteError(
                f"generation {generation_id} misses {coverage.missing:,} of {coverage.live:,} messages",
                f"Go on with: {go_on}. Or use it as it is: vaultembed embeddings activate {generation_id} --force",
            )
        if coverage.failed > most_failed and not force:
            raise IncompleteError(
                f"generation {generation_id} failed on {coverage.failed:,} messages, more than {most_failed}",
                "See which and why: vaultembed embeddings failures. Accept them:"
                f" vaultembed embeddings activate {generation_id} --max-failed {coverage.failed}",
            )
        if not generation.is_vouched_for and not force:
            raise UnverifiedError(generation)
        failpoint("transition.step")
        _flip_active(archive, generation)
    failpoint("transition.step")
    return True


def rollback(archive: Archive) -> Generation:
    """Make the generation that was active before the active one again; returns it.

    Raises:
        VaultembedError: there is none, or its vectors were pruned.
        UnverifiedError: vectors were written to it since it was in use.
    """
    with archive.transaction():
        former = archive.scalar(
            "SELECT id FROM generations WHERE state = 'retired' AND activated_at IS NOT NULL AND pruned_at IS NULL"
            " ORDER BY retired_order DESC LIMIT 1"
        )
        if former is None:
            raise VaultembedError(
                "there is no earlier generation to go back to",
                "Retired generations can be gone back to until they are pruned. To list them:"
                " vaultembed embeddings list",
            )
        target = generation_with_id(archive, former)
        if not target.is_vouched_for:
            raise UnverifiedError(target)
        failpoint("transition.step")
        _flip_active(archive, target)
    failpoint("transition.step")
    return target


def retire(archive: Archive, generation_id: int, *, force: bool = False) -> bool:
    """Take the active generation out of service without another in its place. False: it was retired already.

    Raises:
        UsageError: it is not active; or it is, and `force` is missing: search by meaning would go dark.
    """
    with archive.transaction():
        generation = generation_with_id(archive, generation_id)
        if generation.state == "retired":
            return False
        if generation.state == "building":
            raise UsageError(
                f"generation {generation_id} is being built", "To abandon it: vaultembed embeddings discard"
            )
        if generation.state == "discarded":
            raise UsageError(f"generation {generation_id} was discarded; it cannot be retired")
        if not force:
            raise UsageError(
                f"generation {generation_id} is the one that search by meaning uses",
                "Activate another, and this one retires: vaultembed embeddings activate ID. To go without any:"
                f" vaultembed embeddings retire {generation_id} --force",
            )
        failpoint("transition.step")
        archive.execute(
            "UPDATE generations SET state = 'retired', retired_at = unixepoch() WHERE id = ?", (generation_id,)
        )
    failpoint("transition.step")
    return True


def discard(archive: Archive, generation_id: int | None) -> Generation:
    """Abandon the generation that is being built; the active one is to be topped up again. Returns the abandoned one.
    One that was in use once, and was only being completed, is retired again: it can still be gone back to.

    Raises:
        UsageError: none is being built, or that one is not.
    """
    with archive.transaction():
        building = generation_in_state(archive, "building")
        if building is None or (generation_id is not None and building.id != generation_id):
            what = (
                "no generation is being built"
                if generation_id is None
                else f"generation {generation_id} is not being built"
            )
            raise UsageError(what, "To list them: vaultembed embeddings list")
        archive.execute(
            "UPDATE generations SET state = ?, retired_at = unixepoch() WHERE id = ?",
            ("discarded" if building.activated_at is None else "retired", building.id),
        )
        failpoint("transition.step")
        archive.execute("DELETE FROM embed_leases WHERE generation_id = ?", (building.id,))
        renew_stamps_later(archive)
        failpoint("transition.step")
    failpoint("transition.step")
    return generation_with_id(archive, building.id)


def reopen(archive: Archive, generation_id: int) -> Generation:
    """Go on building a retired generation: what it has embedded and is still current need not be embedded again.

    Raises:
        BusyError: another process has begun to build one meanwhile.
        VaultembedError: it was discarded, or its vectors were pruned.
    """
    with archive.transaction():
        building = generation_in_state(archive, "building")
        if building is not None:
            raise BusyError(
                f"another process has begun to build generation {building.id} meanwhile",
                "To see what it does: vaultembed embeddings",
            )
        _check_has_vectors(generation_with_id(archive, generation_id))
        archive.execute(
            "UPDATE generations SET state = 'building', retired_at = NULL WHERE id = ? AND state = 'retired'",
            (generation_id,),
        )
        renew_stamps_later(archive)
    return generation_with_id(archive, generation_id)


def _check_has_vectors(generation: Generation) -> None:
    if generation.state == "discarded":
        raise VaultembedError(
            f"generation {generation.id} was discarded", "Build it anew: vaultembed embeddings build --model MODEL"
        )
    if generation.pruned_at is not None:
        raise VaultembedError(
            f"the vectors of generation {generation.id} were pruned",
            f"Build it anew: vaultembed embeddings build --model {generation.model.path or generation.model.name}",
        )


def _flip_active(archive: Archive, target: Generation) -> None:
    archive.execute("UPDATE generations SET state = 'retired', retired_at = unixepoch() WHERE state = 'active'")
    failpoint("transition.step")
    archive.execute(
        "UPDATE generations SET state = 'active', activated_at = unixepoch(), retired_at = NULL WHERE id = ?",
        (target.id,),
    )
    failpoint("transition.step")
    if target.state == "retired":
        renew_stamps_later(archive)


def renew_stamps_later(archive: Archive) -> None:
    """The generation to be filled is another now. Its stamps are renewed from its outcomes in many small transactions,
    by whoever comes first: at 10^6 messages one would block every writer for half a minute."""
    target = generation_to_fill(archive)
    if target is not None:
        archive.execute(
            "INSERT INTO embed_watermark(generation_id, watermark_id, restamp_after) VALUES (?, 0, 0)"
            " ON CONFLICT DO UPDATE SET watermark_id = 0, restamp_after = 0",
            (target.id,),
        )


def restamp(archive: Archive, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Renew the stamps of the generation to be filled from its outcomes, where a change of state has left that to do;
    returns how many. What is current is not embedded again. Interrupted, it goes on where it was."""
    renewed = 0
    while not should_stop():
        with archive.transaction():
            target = generation_to_fill(archive)
            after = None
            if target is not None:
                after = archive.scalar(
                    "SELECT restamp_after FROM embed_watermark WHERE generation_id = ?", (target.id,)
                )
            if target is None or after is None:
                return renewed
            ids = [
                row[0]
                for row in archive.rows(
                    "SELECT message_id FROM embed_outcomes WHERE generation_id = ? AND message_id > ?"
                    " ORDER BY message_id LIMIT ?",
                    (target.id, after, _RESTAMP_BATCH),
                )
            ]
            for message_id in ids:
                # deleted ones too: undeleted, they are not to be embedded again either
                renewed += archive.execute(
                    "UPDATE messages SET embed_gen = ?1 WHERE id = ?2 AND embed_gen IS NOT ?1"
                    " AND content_rev = (SELECT content_rev FROM embed_outcomes WHERE generation_id = ?1"
                    " AND message_id = ?2)",
                    (target.id, message_id),
                )
            archive.execute(
                "UPDATE embed_watermark SET restamp_after = ? WHERE generation_id = ?",
                (ids[-1] if ids else None, target.id),
            )
            failpoint("transition.restamp")
    return renewed
