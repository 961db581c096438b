"""`vaultembed models`, `models pull` and `models info`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NoReturn

from vaultembed.cli.output import finish
from vaultembed.cli.progress import Progress
from vaultembed.cli.wording import say, size, style
from vaultembed.service.models import ModelsView, ModelView, PullStep, add_model, list_models, model_info, pull
from vaultembed.service.result import Result


def run_list(*, as_json: bool) -> NoReturn:
    finish("models", list_models, render_list, as_json=as_json)


def run_pull(name: str | None, *, as_json: bool) -> NoReturn:
    def call() -> Result[ModelView]:
        display = PullDisplay()
        try:
            return pull(name, display.on_step)
        finally:
            display.close()

    finish("models pull", call, render_info, as_json=as_json)


def run_add(file: Path, name: str | None, *, as_json: bool) -> NoReturn:
    finish("models add", lambda: add_model(file, name), render_info, as_json=as_json)


def run_info(model: str, *, as_json: bool) -> NoReturn:
    finish("models info", lambda: model_info(model), render_info, as_json=as_json)


class PullDisplay:
    """Shows each step of fetching a model."""

    def __init__(self) -> None:
        self._what = ""
        self._progress: Progress | None = None
        self._started = 0.0

    def on_step(self, step: PullStep) -> None:
        if step.what != self._what:
            self.close()
            self._what = step.what
            self._started = time.monotonic()
            say(f"{step.what[:1].upper()}{step.what[1:]}", err=True)
            if step.total:
                self._progress = Progress(step.what.split()[0].capitalize())  # the line above says it in full
        if self._progress is not None and step.total:
            seconds = time.monotonic() - self._started
            self._progress.update(step.done, step.total, seconds, f"{size(step.done)} of {size(step.total)}")

    def close(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None


def render_list(data: ModelsView) -> None:
    say(f"Models are kept in {data.folder}")
    for model in data.models:
        if model.problem is not None:
            say(f"\n{style(model.name, bold=True)} (not usable)")
            say(f"  {model.problem}")
            continue
        where = "here" if model.here else f"not fetched, {size(model.size)}: vaultembed models pull {model.name}"
        default = ", default" if model.is_default else ""
        say(f"\n{style(model.name, bold=True)}{default} ({where})")
        say(f"  {model.dimension} dimensions, up to {model.context_length} tokens, {model.languages}, {model.licence}")
    say("\nAny embedding model in GGUF form can be used by its path: vaultembed embeddings build --model FILE.gguf")


def render_info(data: ModelView) -> None:
    lines = [
        ("Name", data.name),
        ("File", f"{data.path} ({size(data.file_bytes)})"),
        ("SHA-256", data.sha256),
        ("Weights", f"{data.weights_sha256} (conversion {data.converter})"),
        ("Architecture", data.architecture),
        ("Dimension", str(data.dimension)),
        ("Pooling", data.pooling),
        ("Context", f"{data.context_length} tokens"),
        ("Prefixes", f"document {data.document_prefix!r}, query {data.query_prefix!r}"),
        ("Licence", data.licence),
        ("Languages", data.languages),
        ("Space", data.space),
    ]
    for name, value in lines:
        say(f"{name + ':':<14}{value}")
