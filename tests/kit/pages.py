"""What the pages of docs/ tell a reader to type."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"


def shell_lines(page: Path) -> list[str]:
    """The lines of its blocks of commands, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def json_blocks(page: Path) -> list[dict[str, Any]]:
    blocks = re.findall(r"^```json\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [json.loads(block) for block in blocks]


def vaultembed_commands(page: Path) -> list[str]:
    """Wherever they stand: in a block, on an indented line, or within a sentence."""
    text = page.read_text("utf-8")
    lines = [line for line in shell_lines(page) if line.startswith("vaultembed ")]
    indented = re.findall(r"^ {4}(vaultembed .*)$", text, re.MULTILINE)
    return lines + indented + re.findall(r"`(vaultembed [^`\n]*)`", text)
