"""`doctor`: counts the whole archive again, says what is not as it should be, and repairs what can be made again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaultembed.archive.backup import Stopped
from vaultembed.archive.database import (
    Archive,
    open_archive,
    open_archive_readonly,
    open_for_repair,
    open_unchecked_readonly,
    require_archive,
)
from vaultembed.archive.doctor.counting import count_coverage
from vaultembed.archive.doctor.findings import RESTORE, OnStep
from vaultembed.archive.doctor.findings import Finding as Finding
from vaultembed.archive.doctor.findings import Severity as Severity
from vaultembed.archive.doctor.fixes import fix_findings
from vaultembed.archive.doctor.inspect import inspect_archive
from vaultembed.archive.generations.records import Coverage, list_generations
from vaultembed.errors import ArchiveOutdatedError, DamageError, ModelError
from vaultembed.models.model_file import verify
from vaultembed.search.model_of import resolve_model_of
from vaultembed.service.backup import migration_notes
from vaultembed.service.result import Result

_MOST_ROUNDS: Final = 3
"""A repair may bring to light what it repaired leaves behind: rows of the coarse index of chunks that were deleted."""


@dataclass(frozen=True, slots=True)
class CountedGenerationView:
    id: int
    state: str
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class CountedView:
    """Counted from scratch. What `stats` has from counters must be the same."""

    live: int
    generations: tuple[CountedGenerationView, ...]
    """In use, or being built."""
    missing_embeddings_total: int


@dataclass(frozen=True, slots=True)
class DoctorView:
    archive: Path
    healthy: bool
    """Nothing is damaged or wrong, no model is missing; leftovers do no harm."""
    findings: tuple[Finding, ...]
    """As the archive is now: after the repairs, where there were any."""
    repaired: tuple[str, ...]
    """What was done, in sentences."""
    counted: CountedView | None
    """None where it was interrupted, or is too damaged to be counted."""


def examine(
    archive_path: Path,
    *,
    fix: bool = False,
    on_step: OnStep = lambda _what, _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[DoctorView]:
    """Exit code 5: something is damaged or wrong; 4: only a model is missing; 0: neither.

    Raises:
        DamageError: it is so damaged that it cannot be opened.
        VaultembedError: no archive, or one of a newer schema; of an older one, too, without `fix`.
        BusyError, StorageError: only with `fix`.
    """
    require_archive(archive_path)
    repaired: list[str] = []
    findings: list[Finding] = []

    def inspect() -> list[Finding]:
        try:
            return _inspect(archive_path, on_step, should_stop)
        except ArchiveOutdatedError:
            if not fix:
                raise
        with open_archive(archive_path) as archive:  # which brings it up to date, as all that writes does
            repaired.extend(migration_notes(archive))
        return _inspect(archive_path, on_step, should_stop)

    try:
        findings = inspect()
        for _ in range(_MOST_ROUNDS if fix else 0):
            if not any(finding.fix for finding in findings):
                break
            before = findings
            repaired += _repair(archive_path, findings, on_step, should_stop)
            findings = inspect()
            if findings == before:
                break
    except Stopped:
        note = "Interrupted: not everything was looked at. What was repaired stays."
        return Result("doctor", DoctorView(archive_path, False, tuple(findings), tuple(repaired), None), (note,), 130)
    healthy = all(finding.severity == "leftover" for finding in findings)
    cannot_count = any(finding.severity == "damage" or finding.kind == "schema" for finding in findings)
    counted = None if cannot_count else _counted(archive_path)
    view = DoctorView(archive_path, healthy, tuple(findings), tuple(repaired), counted)
    return Result("doctor", view, _notes(findings, fix=fix), _exit_code(findings))


def _inspect(path: Path, on_step: OnStep, should_stop: Callable[[], bool]) -> list[Finding]:
    try:
        with open_unchecked_readonly(path) as archive:
            findings = inspect_archive(archive, on_step, should_stop)
            if not any(finding.severity == "damage" for finding in findings):
                findings += _unusable_models(archive)
            return findings
    except DamageError as error:
        raise _hopeless(error) from error


def _counted(path: Path) -> CountedView:
    with open_archive_readonly(path) as archive, archive.snapshot():
        found = count_coverage(archive)
    generations = tuple(CountedGenerationView(g.id, g.state, g.coverage) for g in found.generations)
    return CountedView(found.live, generations, found.missing_embeddings_total)


def _unusable_models(archive: Archive) -> list[Finding]:
    found = []
    for generation in list_generations(archive):
        if generation.state not in ("active", "building"):
            continue
        try:
            verify(resolve_model_of(generation))
        except ModelError as error:
            what = f"the model of generation {generation.id} cannot be used: {error.message}"
            found.append(Finding("model", "model", what, 1, (generation.model_label,), generation.id, None, error.hint))
    return found


def _repair(path: Path, findings: list[Finding], on_step: OnStep, should_stop: Callable[[], bool]) -> list[str]:
    try:
        with open_for_repair(path) as archive:
            archive.load_vec_unchecked()
            return fix_findings(archive, findings, on_step, should_stop)
    except DamageError as error:
        raise _hopeless(error) from error


def _hopeless(error: DamageError) -> DamageError:
    """Every other command says `vaultembed doctor` here."""
    return DamageError(
        error.message,
        f"It cannot be examined further. {RESTORE} Without one: move the file aside, and import the mail again:"
        " vaultembed import PATH",
    )


def _exit_code(findings: list[Finding]) -> int:
    if any(finding.severity in ("damage", "wrong") for finding in findings):
        return 5
    return 4 if any(finding.severity == "model" for finding in findings) else 0


def _notes(findings: list[Finding], *, fix: bool) -> tuple[str, ...]:
    notes = []
    if not fix and any(finding.fix and finding.severity != "leftover" for finding in findings):
        notes.append("To repair what can be: vaultembed doctor --fix")
        if not any(finding.kind == "schema" for finding in findings):  # of such a file, no copy is made
            notes[-1] += ". A copy first does no harm: vaultembed backup DEST"
    for finding in findings:
        if finding.way_out and finding.way_out not in notes:
            notes.append(finding.way_out)
    return tuple(notes)
