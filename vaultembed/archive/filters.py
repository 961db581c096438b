"""A condition on messages in SQL, for whatever lists them; `conditions` makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Filter:
    """SQL over `messages` under the alias `m`, with its bindings."""

    sql: str = "1"
    bindings: tuple[Any, ...] = ()
    hides_set_aside: bool = False
    """What is in trash or spam does not pass. No part of `sql`: a search without a filter is to stay one."""

    @property
    def is_empty(self) -> bool:
        return self.sql == "1"

    @property
    def shown(self) -> str:
        """SQL for messages that are to be seen at all, whatever else is asked of them."""
        return "m.set_aside = 0" if self.hides_set_aside else "1"

    @property
    def live(self) -> str:
        """SQL for those of them that are not deleted."""
        return "m.deleted_at IS NULL AND m.set_aside = 0" if self.hides_set_aside else "m.deleted_at IS NULL"
