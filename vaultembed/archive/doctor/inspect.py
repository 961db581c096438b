"""Counts everything from scratch and says where the archive is not what it claims to be. Changes nothing.

One check is one small function that yields findings; what repairs them is in `fixes`. Nothing here uses a counter, a
stamp or the coarse index to decide anything: those are what is looked at. The vec0 tables are read through the
ordinary tables they consist of, because sqlite-vec would crash on damaged ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vaultembed.archive.backup import Stopped
from vaultembed.archive.doctor.derived import DERIVED_CHECKS
from vaultembed.archive.doctor.findings import RESTORE, UNREADABLE, Finding, OnStep
from vaultembed.archive.doctor.stored import STORED_CHECKS
from vaultembed.archive.doctor.vectors import VECTOR_CHECKS
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.migrations import user_version
from vaultembed.archive.schema_files import latest_version

_HANDLER_STEPS: Final = 100_000


def inspect_archive(
    archive: Archive,
    on_step: OnStep = lambda _what, _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Finding]:
    """Every finding, in one snapshot; memory does not grow with the archive.

    Raises:
        Stopped: `should_stop` said so.
    """
    found: list[Finding] = []
    # asked also in the middle of a statement: integrity_check alone takes minutes on a large file
    archive.db.set_progress_handler(should_stop, _HANDLER_STEPS)
    try:
        with archive.snapshot():
            for name, check in (*STORED_CHECKS, *DERIVED_CHECKS, *VECTOR_CHECKS):
                if should_stop():
                    raise Stopped
                on_step(name, 0, 0)
                try:
                    found += check(archive, on_step)
                except UNREADABLE as error:
                    what = f"could not be checked: {name} ({error})"
                    found.append(Finding("unreadable", "damage", what, 1, way_out=RESTORE))
                if any(finding.kind == "schema" and finding.severity == "damage" for finding in found):
                    return found  # what stands in the place of a table may be anything
                if found and user_version(archive.db) < latest_version():
                    return found  # the rest is to be looked at when it is up to date
            if should_stop():  # the last one may have been cut short as well
                raise Stopped
    finally:
        archive.db.set_progress_handler(None)
    return found
