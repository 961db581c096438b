"""`vaultembed demo`."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer

from vaultembed.cli.models import PullDisplay
from vaultembed.cli.output import finish
from vaultembed.cli.progress import StepDisplay
from vaultembed.cli.searching import headline
from vaultembed.cli.wording import duration, heading, paragraph, safe_line, say, style
from vaultembed.service.demo import DemoSearch, DemoView, run_demo
from vaultembed.service.embedding import BuildView
from vaultembed.service.importing import Imported
from vaultembed.service.result import Result


def run(keep: Path | None, *, as_json: bool) -> NoReturn:
    def call() -> Result[DemoView]:
        if as_json:
            return run_demo(keep)
        pulling = PullDisplay()
        step = StepDisplay()
        story = Story(step)

        def on_step(what: str) -> None:
            pulling.close()
            step.show(what)

        try:
            return run_demo(
                keep,
                on_pull=pulling.on_step,
                on_step=on_step,
                on_imported=story.imported,
                on_built=story.built,
                on_search=story.searched,
            )
        finally:
            pulling.close()
            step.close()

    finish("demo", call, render, as_json=as_json)


class Story:
    """Tells each step in a line, when it is done."""

    def __init__(self, display: StepDisplay) -> None:
        self._display = display
        self._step = 0

    def _tell(self, text: str) -> None:
        self._display.close()
        self._step += 1
        say(style(f"{self._step}.  ", bold=True) + text)

    def imported(self, data: Imported) -> None:
        counts = data.counts
        self._tell(
            f"Imported the mailbox of Mira Halvorsen, who never was: {counts.added} messages from 1998 to 2024, "
            f"{counts.duplicate} duplicate, {counts.guessed} read by a guess."
        )

    def built(self, data: BuildView) -> None:
        run, coverage = data.run, data.generation.coverage
        self._tell(
            f"Embedded them on this machine in {duration(run.seconds)}: {run.chunks} vectors of "
            f"{data.generation.dimension} dimensions; {coverage.embedded} messages embedded, {coverage.blank} blank, "
            f"{coverage.failed} failed, {coverage.missing} missing."
        )

    def searched(self, search: DemoSearch) -> None:
        query = style(f'"{search.query}"', bold=True)
        self._tell(f"Searched for {query}, to find {search.about}.")
        if search.found is not None:
            say(f"    {headline(search.found)}")
            say("      " + style(heading(search.found.subject, search.found.chat), bold=True))
            typer.echo(paragraph(safe_line(search.found.passage.text), 6))
        if search.rank == 1 and not search.found_by_words:
            say("    By words alone it is not found: they have none in common.")
        elif search.rank != 1:
            say(f"    Not what was expected: that came out at rank {search.rank or 'above 10'}.")


def render(data: DemoView) -> None:
    say(f"\nAll of it took {duration(data.seconds)}, offline. Now with your own mail:\n")
    say("  vaultembed import ~/Mail         mbox, Maildir, .eml, or folders of these")
    say("  vaultembed embeddings build      stop it whenever you like, it goes on later")
    say('  vaultembed search "the leaking roof"')
    if data.archive is not None:
        say(f"\nThe demo's archive is {data.archive}. To search it: vaultembed search --archive FILE QUERY")
