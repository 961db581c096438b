"""`vaultembed models …` and the options of its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from vaultembed.cli.help import Group, command
from vaultembed.cli.options import JsonOption, OptionalText, above, model_names

models_app = typer.Typer(cls=Group, rich_markup_mode=None, epilog="vaultembed models\nvaultembed models pull")


@models_app.callback()
def models(context: typer.Context, json: JsonOption = False) -> None:
    """Show the models that are known, and which are here."""
    if context.invoked_subcommand is None:
        from vaultembed.cli import models as models_command

        models_command.run_list(as_json=json)


@command(models_app, "list", "vaultembed models list", "vaultembed models list --json")
def models_list(context: typer.Context, json: JsonOption = False) -> None:
    """List the models that are known, and which are here."""
    from vaultembed.cli import models as models_command

    models_command.run_list(as_json=json or above(context, "json"))


@command(
    models_app,
    "pull",
    "vaultembed models pull",
    "vaultembed models pull all-minilm-l6-v2",
)
def models_pull(
    context: typer.Context,
    name: Annotated[
        OptionalText, typer.Argument(metavar="MODEL", autocompletion=model_names, help="Default: all-minilm-l6-v2.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fetch a model, unless it is here and whole. From then on nothing needs the network."""
    from vaultembed.cli import models as models_command

    models_command.run_pull(name, as_json=json or above(context, "json"))


@command(models_app, "info", "vaultembed models info all-minilm-l6-v2", "vaultembed models info ./model.gguf --json")
def models_info(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", autocompletion=model_names, help="Name of a known model, or path of a .gguf."),
    ],
    json: JsonOption = False,
) -> None:
    """Show the facts of a model: dimension, context, prefixes, licence, checksums."""
    from vaultembed.cli import models as models_command

    models_command.run_info(model, as_json=json or above(context, "json"))
