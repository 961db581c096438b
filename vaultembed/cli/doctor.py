"""`vaultembed doctor`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, NoReturn

from vaultembed.cli.output import finish, stopping
from vaultembed.cli.progress import Progress
from vaultembed.cli.wording import say
from vaultembed.paths import archive_path
from vaultembed.service.doctor import DoctorView, Finding, Severity, examine
from vaultembed.service.result import Result

_WORDS: Final[dict[Severity, str]] = {"damage": "Damage", "wrong": "Wrong", "model": "Model", "leftover": "Left over"}


def run(archive: Path | None, *, fix: bool, as_json: bool) -> NoReturn:
    def call() -> Result[DoctorView]:
        progress = Progress("Examining")
        started = time.monotonic()

        def on_step(what: str, done: int, total: int) -> None:
            detail = f"{what}, {done:,} of {total:,}" if total else what
            progress.update(done, total or None, time.monotonic() - started, detail)

        try:
            with stopping() as stop:
                return stop.exit_code(examine(archive_path(archive), fix=fix, on_step=on_step, should_stop=stop))
        finally:
            progress.close()

    finish("doctor", call, render, as_json=as_json)


def render(data: DoctorView) -> None:
    for sentence in data.repaired:
        say(sentence)
    for finding in data.findings:
        _render_finding(finding)
    if data.healthy:
        state = "is sound" if not data.repaired else "is sound now"
        say(f"{data.archive} {state}.")


def _render_finding(finding: Finding) -> None:
    number = f" ({finding.count:,})" if finding.count > 1 else ""
    say(f"{_WORDS[finding.severity]}: {finding.what}{number}")
    if finding.examples:
        more = ", …" if finding.count > len(finding.examples) else ""
        say(f"  {', '.join(finding.examples)}{more}")
    if finding.fix:
        say(f"  --fix would: {finding.fix}")
