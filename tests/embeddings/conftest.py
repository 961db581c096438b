from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vaultembed.archive.database import Archive, open_archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with open_archive(tmp_path / "a.db") as opened:
        opened.load_vec()
        yield opened
