"""A condition on messages in SQL, for whatever lists them; `conditions` makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Filter:
    """SQL over `messages` under the alias `m`, with its bindings."""

    sql: str = "1"
    bindings: tuple[Any, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.sql == "1"
