"""What a terminal shows while a command is at work."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

from tests.kit.processes import COMMAND, environment, vaultembed
from vaultembed.models.model_file import ModelFile
from vaultembed.sample import sample_path


def on_terminal(*arguments: str | Path, archive: Path) -> str:
    """All that a command writes to a terminal of 80 columns, controls included."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env={**environment(archive), "COLUMNS": "80", "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65_536):
            written += chunk
    except OSError:  # how Linux says that nobody has the other end any more
        pass
    os.close(ours)
    assert process.wait() == 0, written
    return written.decode()


def lines_that_stay(written: str) -> list[str]:
    """A terminal's lines in the end: what was erased is gone."""
    lines = [""]
    for part in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|\r\n|\r|[^\x1b\r]+", written):
        if part == "\r\n":
            lines.append("")
        elif part.endswith("K") and part.startswith("\x1b"):
            lines[-1] = ""
        elif part.endswith("A") and part.startswith("\x1b"):
            del lines[-int(part[2:-1] or 1) :]
        elif part[0] not in "\x1b\r":
            lines[-1] += part
    return lines


def test_a_first_build_says_from_the_start_what_it_is_doing_and_leaves_no_line_of_it(
    tmp_path: Path, model: ModelFile
) -> None:
    archive = tmp_path / "a.db"
    vaultembed("import", sample_path(), archive=archive)
    written = on_terminal("embeddings", "build", archive=archive)
    assert "Starting all-minilm-l6-v2 …" in written
    assert written.index("Starting") < written.index("76 messages to embed") < written.index("Embedding")
    left = lines_that_stay(written)
    assert not [line for line in left if "Starting" in line or "Embedding " in line]
    assert all(len(line) <= 80 for line in left), left


def test_the_demo_leaves_no_bar_between_its_sentences(tmp_path: Path, model: ModelFile) -> None:
    written = on_terminal("demo", archive=tmp_path / "unused.db")
    assert "Embedding the messages …" in written
    left = lines_that_stay(written)
    assert not [line for line in left if "…" in line or "━" in line]
    assert any(line.startswith("5.  ") for line in left)
