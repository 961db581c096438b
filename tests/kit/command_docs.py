"""Writes docs/commands.md from the commands' own help: `python -m tests.kit.command_docs > docs/commands.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from typer.core import TyperGroup

from vaultembed.cli.app import command_tree

COLUMNS = 80


def contexts(columns: int = COLUMNS) -> Iterator[Any]:
    """Of each command there is, groups before what is in them, as on a terminal of so many columns."""
    root = command_tree()
    settings = {**root.context_settings, "terminal_width": columns - 2}  # click leaves a margin
    yield from _with_children(root.context_class(root, info_name="vaultembed", **settings))


def _with_children(context: Any) -> Iterator[Any]:
    yield context
    if isinstance(context.command, TyperGroup):
        for name, command in context.command.commands.items():
            yield from _with_children(
                type(context)(command, info_name=name, parent=context, **command.context_settings)
            )


def command_docs() -> str:
    pages = [f"## `{context.command_path}`\n\n```text\n{context.get_help().rstrip()}\n```\n" for context in contexts()]
    return "\n".join(
        [
            "# Commands\n",
            "Made from `--help`. Every command that prints data takes `--json`: see [JSON](json.md).\n",
            *pages,
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(command_docs())
