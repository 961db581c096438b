"""`vaultembed embeddings prune`."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from vaultembed.cli.output import confirmed, finish, stopping
from vaultembed.cli.progress import Progress
from vaultembed.cli.wording import count, say, size
from vaultembed.paths import archive_path
from vaultembed.service.pruning import PruneView, plan_prune, prune_embeddings
from vaultembed.service.result import Result


def run(
    generations: list[int], archive: Path | None, *, dry_run: bool, rewrite: bool, yes: bool, as_json: bool
) -> NoReturn:
    def call() -> Result[PruneView]:
        path = archive_path(archive)
        plan = plan_prune(path, generations)
        chunks = sum(generation.chunks for generation in plan.generations)
        whole = [generation for generation in plan.generations if not generation.begun]
        if whole and not dry_run:
            names = ", ".join(f"{g.id} ({g.model}, {g.state}, {count(g.chunks, 'chunk')})" for g in whole)
            confirmed(
                f"Remove the vectors of generation {names}? There is no going back to it then: its messages would have"
                " to be embedded again.",
                yes=yes,
            )
        progress = Progress("Pruning")
        try:
            with stopping() as stop:
                result = prune_embeddings(
                    path,
                    plan,
                    dry_run=dry_run,
                    rewrite=rewrite,
                    on_chunks=lambda done: progress.update(done, chunks, 0, f"{done:,} of {count(chunks, 'chunk')}"),
                    should_stop=stop,
                )
                return stop.exit_code(result)
        finally:
            progress.close()

    finish("embeddings prune", call, render, as_json=as_json)


def render(data: PruneView) -> None:
    if data.dry_run:
        if not data.candidates:
            say("No generation is out of use.")
        for g in data.candidates:
            say(f"Generation {g.id} ({g.model}), {g.state}: {count(g.chunks, 'chunk')}, {size(g.about_bytes)}")
        return
    for generation in data.pruned:
        say(f"Generation {generation} is pruned.")
    if data.collected:
        say(f"{count(data.collected, 'vector')} of deleted or edited messages removed.")
    anew = ", written anew" if data.rewritten else ""
    sizes = f"The file was {size(data.bytes_before)} and is {size(data.bytes_after)} now{anew}"
    say(f"{sizes}: {size(data.freed)} freed.")
