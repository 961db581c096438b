"""`demo`: the main job on a bundled mailbox, from nothing to three searches by meaning."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vaultembed.errors import UsageError
from vaultembed.models.registry import DEFAULT_MODEL
from vaultembed.sample import DEMO_QUERIES, DemoQuery, sample_path
from vaultembed.service.embedding import BuildView, build_embeddings
from vaultembed.service.importing import Imported, import_mail
from vaultembed.service.models import PullStep, is_here, pull
from vaultembed.service.result import Result
from vaultembed.service.searching import Found, search_archive


@dataclass(frozen=True, slots=True)
class DemoSearch:
    query: str
    about: str
    """What there is to be found."""
    rank: int | None
    """Where it came out by meaning, from 1; None where it is not among the first ten."""
    found: Found | None
    """The first result."""
    found_by_words: bool
    """Whether a search by words finds it."""


@dataclass(frozen=True, slots=True)
class DemoView:
    mailbox: Path
    archive: Path | None
    """None where it was a temporary one."""
    imported: Imported
    built: BuildView
    searches: tuple[DemoSearch, ...]
    seconds: float
    """Without fetching the model."""


def run_demo(
    keep: Path | None = None,
    *,
    on_pull: Callable[[PullStep], None] = lambda _: None,
    on_step: Callable[[str], None] = lambda _: None,
    on_imported: Callable[[Imported], None] = lambda _: None,
    on_built: Callable[[BuildView], None] = lambda _: None,
    on_search: Callable[[DemoSearch], None] = lambda _: None,
) -> Result[DemoView]:
    """Import the sample, embed it, and search it; each callback is told when its step is done, `on_step` before.

    Raises:
        UsageError: `keep` exists already.
        ModelError: the model is not here and cannot be fetched.
    """
    if not is_here(DEFAULT_MODEL):
        pull(DEFAULT_MODEL, on_pull)
    started = time.monotonic()
    on_step("Importing the mailbox")
    with _archive(keep) as path:
        imported = import_mail(path, [sample_path()]).data
        on_imported(imported)
        built = build_embeddings(path, on_step=on_step, on_plan=lambda _: on_step("Embedding the messages")).data
        on_built(built)
        searches = []
        for query in DEMO_QUERIES:
            on_step(f"Searching for {query.text}")
            search = _search(path, query)
            on_search(search)
            searches.append(search)
    data = DemoView(sample_path(), keep, imported, built, tuple(searches), time.monotonic() - started)
    return Result("demo", data, exit_code=0 if all(s.rank == 1 for s in searches) else 1)


@contextmanager
def _archive(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        if keep.exists():
            raise UsageError(f"{keep} exists already", "Name a new file after --keep.")
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="vaultembed-demo-") as folder:
        yield Path(folder) / "archive.db"


def _search(archive: Path, query: DemoQuery) -> DemoSearch:
    results = search_archive(archive, query.text).data.results
    ranks = [rank for rank, found in enumerate(results, 1) if found.rfc822_message_id == query.finds]
    by_words = search_archive(archive, query.text, mode="text").data.results
    return DemoSearch(
        query=query.text,
        about=query.why,
        rank=ranks[0] if ranks else None,
        found=results[0] if results else None,
        found_by_words=any(found.rfc822_message_id == query.finds for found in by_words),
    )
