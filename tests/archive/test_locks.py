"""Waiting for another process that writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from vaultembed.archive.database import open_archive
from vaultembed.archive.engine.opening import BUSY_TIMEOUT_MS
from vaultembed.deadline import heeding
from vaultembed.errors import StoppedError


def forget_problems(path: Path) -> None:
    with open_archive(path) as archive, archive.transaction():
        archive.execute("DELETE FROM problems")


@contextmanager
def locked(path: Path) -> Iterator[apsw.Connection]:
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


def test_who_is_asked_to_stop_waits_no_longer_for_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path):
        pass
    asked = threading.Event()
    threading.Timer(0.1, asked.set).start()
    began = time.monotonic()
    with locked(path), heeding(asked.is_set), pytest.raises(StoppedError, match="another process was writing"):
        forget_problems(path)
    assert time.monotonic() - began < BUSY_TIMEOUT_MS / 1000 / 2


def test_a_step_that_another_process_is_about_to_end_is_waited_for_also_then(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path):
        pass
    with locked(path) as other, heeding(lambda: True):
        threading.Timer(0.2, lambda: other.execute("COMMIT")).start()
        forget_problems(path)
