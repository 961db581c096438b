"""What a terminal shows while a command is at work."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.kit.mail import mail, mbox
from tests.kit.processes import COMMAND, environment, vaultembed
from vaultembed.archive.database import open_archive
from vaultembed.cli.wording import say, style
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_demo_leaves_no_bar_between_its_sentences(tmp_path: Path, model: ModelFile) -> None:
    written = on_terminal("demo", archive=tmp_path / "unused.db")
    assert "Embedding the messages …" in written
    left = lines_that_stay(written)
    assert not [line for line in left if "…" in line or "━" in line]
    assert any(line.startswith("5.  ") for line in left)


def test_a_message_as_it_was_sent_is_obeyed_by_no_terminal_and_piped_byte_by_byte(tmp_path: Path) -> None:
    sent = mail("raw", "one\r\n\x1b]0;owned\x07\x1b[8m\u202eecho rm") + b"caf\xe9 \x9b2J\rover\n"
    vaultembed("import", mbox(tmp_path / "box", [sent]), archive=tmp_path / "a.db")
    written = on_terminal("show", "1", "--raw", archive=tmp_path / "a.db")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]|\r(?!\n)", written)
    assert "\\u{1b}]0;owned\\u{7}\\u{1b}[8m\\u{202e}echo rm\r\ncaf\\xe9 \\x9b2J\r\nover" in written
    piped = subprocess.run([*COMMAND, "show", "1", "--raw"], env=environment(tmp_path / "a.db"), stdout=subprocess.PIPE)
    assert piped.stdout == sent


def test_only_our_own_styles_reach_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vaultembed("import", mbox(tmp_path / "box", [mail("found", "barn")]), archive=tmp_path / "a.db")
    with open_archive(tmp_path / "a.db") as archive:
        archive.db.execute("UPDATE sources SET identifier = '/mail/' || char(27) || '[8mhidden'")
        archive.db.execute("UPDATE messages SET message_type = char(27) || '[31mred' WHERE id = 1")
    written = on_terminal("search", "--mode", "text", "barn", archive=tmp_path / "a.db")
    assert "\x1b[1m    found\x1b[0m" in written
    assert "\\u{1b}[8mhidden" in on_terminal("stats", archive=tmp_path / "a.db")
    say("\x1b[31mred " + style("bold", bold=True))
    assert capsys.readouterr().out == "\\u{1b}[31mred bold\n"
