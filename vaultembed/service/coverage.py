"""How much of the archive a generation covers, as every command reports it."""

from __future__ import annotations

from dataclasses import dataclass

from vaultembed.archive.generations import Coverage


@dataclass(frozen=True, slots=True)
class CoverageView:
    """`live = embedded + blank + failed + missing`."""

    live: int
    embedded: int
    blank: int
    failed: int
    missing: int


def coverage_view(coverage: Coverage) -> CoverageView:
    return CoverageView(coverage.live, coverage.embedded, coverage.blank, coverage.failed, coverage.missing)
