"""`vaultembed models …` and the options of its commands."""

from pathlib import Path
from typing import Annotated

import typer

from vaultembed.cli.help import Group, command
from vaultembed.cli.options import JsonOption, OptionalText, above, model_names

models_app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    epilog="vaultembed models\nvaultembed models pull\nvaultembed models add model.gguf",
)


@models_app.callback()
def models(context: typer.Context, json: JsonOption = False) -> None:
    """Show the models that are known, and which are here; fetch or add one."""
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
    "VAULTEMBED_HUB=https://mirror.example.org vaultembed models pull",
    "VAULTEMBED_HUB=/media/stick/all-MiniLM-L6-v2 vaultembed models pull",
)
def models_pull(
    context: typer.Context,
    name: Annotated[
        OptionalText, typer.Argument(metavar="MODEL", autocompletion=model_names, help="Default: all-minilm-l6-v2.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fetch a model, unless it is here and whole. From then on nothing needs the network.

    It comes from the Hugging Face hub, or from VAULTEMBED_HUB: the address of a mirror, or a folder with the model's
    files. Whatever the source, the bytes are checked against the checksums that vaultembed knows.
    """
    from vaultembed.cli import models as models_command

    models_command.run_pull(name, as_json=json or above(context, "json"))


@command(
    models_app,
    "add",
    "vaultembed models add ~/Downloads/bge-small-en-v1.5.gguf",
    "vaultembed models add ~/Downloads/model.gguf --name bge-small",
)
def models_add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An embedding model in GGUF form.")],
    name: Annotated[
        OptionalText, typer.Option(metavar="NAME", help="What to call it. Default: the name of the file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Keep a copy of a model file under a name, so that `--model NAME` works. It is checked and tried first."""
    from vaultembed.cli import models as models_command

    models_command.run_add(file, name, as_json=json or above(context, "json"))


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
