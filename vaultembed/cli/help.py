"""Help pages in plain text: commands and options in groups, no sentence cut off, examples as they are typed.

Typer has groups only with rich, which would take half of the time of --help; the groups are named as for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from vaultembed.errors import UsageError
from vaultembed.service.display import valid

EVERYDAY: Final = "Everyday"
MEANING: Final = "Search by meaning"
MESSAGES: Final = "Messages"
ARCHIVE: Final = "The archive"
PROGRAMS: Final = "Other programs"
_GROUPS: Final = (EVERYDAY, MEANING, MESSAGES, ARCHIVE, PROGRAMS)

Function = TypeVar("Function", bound=Callable[..., Any])


def command(app: typer.Typer, name: str, *examples: str, group: str | None = None) -> Callable[[Function], Function]:
    """Makes a function a command of `app`; `group` is that of the page that lists it."""
    return app.command(name, cls=Command, rich_help_panel=group, epilog="\n".join(examples))


def first_sentence(text: str) -> str:
    """What a list of commands says of one of them."""
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]


class _Page:
    epilog: str | None

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`QUERY...`, which Typer writes `{QUERY...}`."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece[1:-1] if piece.startswith("{") else piece for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            if (record := parameter.get_help_record(ctx)) is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                section = getattr(parameter, "rich_help_panel", None) or kind
                sections.setdefault(section, []).append(record)
        sections["Options"] = sections.pop("Options")  # those that every command has come last
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (the call is click's)
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")


class Command(_Page, TyperCommand):
    """A command whose epilog are its examples."""

    def invoke(self, ctx: Any) -> Any:
        """Paths are those of files, and nothing else that was typed can be looked for unless it is Unicode."""
        from vaultembed.cli.output import reported_errors  # loads what --help does without

        name = ctx.command_path.partition(" ")[2]
        with reported_errors(name, as_json=bool(ctx.params.get("json"))):
            for parameter in self.params:
                if (read := _READ.get(parameter.type.name)) is not None:
                    ctx.params[parameter.name] = _each(read, ctx.params[parameter.name])
        return super().invoke(ctx)


def _each(read: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_each(read, one) for one in value)
    return read(value) if isinstance(value, str) else value


def _path(text: str) -> str:
    from vaultembed.paths import full_path  # loads what --help does without

    if not text:  # a variable of the shell that is not set; to Python, it is the folder one is in
        raise UsageError("a path is empty", "Name a file or a folder; the folder you are in is .")
    return str(full_path(Path(text)))


_READ: Final = {"path": _path, "str": valid}


class Group(_Page, TyperGroup):
    """A group of commands, with its examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {group: [] for group in _GROUPS}
        names = self.list_commands(ctx)
        width = max(map(len, names))
        for name in names:
            found: Any = self.get_command(ctx, name)
            what = first_sentence(found.short_help or found.help or "")
            groups.setdefault(found.rich_help_panel or "Commands", []).append((name.ljust(width), what))
        for group, rows in groups.items():
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)


class Root(Group):
    """The page of `vaultembed` itself ends with the exit codes."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(EXIT_CODES)


EXIT_CODES: Final = (
    "Exit codes: 0 done, 1 error, 2 usage, 3 incomplete (more to do), 4 no usable generation or model, 5 damage found, "
    "74 input/output error or disk full, 75 busy, 130 interrupted, 143 terminated."
)


def show_page(context: typer.Context, names: list[str]) -> None:
    """The page of the command of that name: `help embeddings build`."""
    page: Any = context.find_root()
    for name in names:
        if not isinstance(page.command, TyperGroup):
            page.fail(f"{page.command_path} has no commands of its own.")
        _, found, _ = page.command.resolve_command(page, [name])
        page = type(page)(found, info_name=name, parent=page, **found.context_settings)
    typer.echo(page.get_help())
