"""Builds in the same process, with the word-hash embedder."""

from __future__ import annotations

from collections.abc import Callable

from tests.kit.archives import add
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import Generation, generation_in_state, generation_with_id
from vaultembed.archive.generations.runs import RunCounts
from vaultembed.archive.vectors.nearest import nearest_messages
from vaultembed.embeddings.build import Built, Observer, Options, Wanted, build, choose_generation
from vaultembed.embeddings.verify import Verified, verify_for_use
from vaultembed.models.protocol import Embedder


def run(
    archive: Archive,
    embedder: Embedder | None = None,
    *,
    wanted: Wanted | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_batch: Callable[[RunCounts], None] = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
    open_model: Callable[[Generation], Embedder] | None = None,
    **options: object,
) -> Built:
    archive.load_vec()
    embedder = embedder or WordHashEmbedder()
    job = choose_generation(archive, embedder, None, wanted or Wanted(model_named=True))
    return build(
        archive,
        embedder,
        job,
        Options(**{"max_failed": 0, "backstop_hours": 0.0, **options}),  # type: ignore[arg-type]
        Observer(on_batch=on_batch, on_wait=on_wait, should_stop=should_stop),
        open_model,
    )


def verify(archive: Archive, generation_id: int, embedder: Embedder | None = None) -> Verified:
    """So that it may be put to use."""
    archive.load_vec()
    return verify_for_use(archive, generation_with_id(archive, generation_id), embedder or WordHashEmbedder())


def fill(archive: Archive, count: int, start: int = 0) -> list[int]:
    return [
        add(archive, f"subject {n}", f"word{n} body{n % 7} text", message_id=str(n))
        for n in range(start, start + count)
    ]


def search(archive: Archive, text: str, embedder: Embedder | None = None) -> list[int]:
    generation = generation_in_state(archive, "active") or generation_in_state(archive, "building")
    assert generation is not None
    vector = (embedder or WordHashEmbedder()).embed([text], "query").vectors[0]
    return [found.message_id for found in nearest_messages(archive, generation, vector, 5, Filter())]
