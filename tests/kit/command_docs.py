"""Writes docs/commands.md from the commands' own help: `python -m tests.kit.command_docs > docs/commands.md`."""

from __future__ import annotations

import sys

from tests.kit.processes import vaultembed

COMMANDS = (
    "",
    "import",
    "embeddings",
    "embeddings build",
    "embeddings list",
    "embeddings failures",
    "embeddings verify",
    "embeddings activate",
    "embeddings rollback",
    "embeddings retire",
    "embeddings discard",
    "embeddings prune",
    "search",
    "show",
    "delete",
    "undelete",
    "stats",
    "problems",
    "models",
    "models pull",
    "models info",
    "backup",
    "restore",
    "migrate",
    "doctor",
    "mcp",
    "demo",
)


def command_docs() -> str:
    parts = [
        "# Commands\n",
        "Made from `--help`. Every command that prints data takes `--json`: see [JSON](json.md).\n",
    ]
    for command in COMMANDS:
        shown = vaultembed(*command.split(), "--help").stdout.rstrip()
        parts.append(f"## `{f'vaultembed {command}'.strip()}`\n\n```text\n{shown}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(command_docs())
