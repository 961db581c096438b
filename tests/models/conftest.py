from __future__ import annotations

import pytest

from tests.models.reference import Reference, load_reference


@pytest.fixture(scope="session")
def reference() -> Reference:
    return load_reference()
