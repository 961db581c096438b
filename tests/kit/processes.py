"""The command line, in this process or in one of its own: that can be killed at a named failpoint, or at any moment."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from vaultembed.cli import main

COMMAND = [sys.executable, "-m", "vaultembed"]


def vaultembed(
    *arguments: str | Path, archive: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A command to its end, as `main` runs it with nobody at the terminal; in this process, where it starts at once.
    With these environment variables, and those of this process."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(3)]
    before = sys.argv, sys.stdin, sys.stdout, sys.stderr, dict(os.environ)
    here = {**environment(archive), **variables}
    os.environ.clear()
    os.environ.update(here)
    sys.argv = ["vaultembed", *map(str, arguments)]
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        main()
        raise AssertionError("a command ended without an exit code")
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr, there = before
        os.environ.clear()
        os.environ.update(there)
    said = [stream.buffer.getvalue().decode() for stream in streams[1:]]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(["vaultembed", *map(str, arguments)], code, *said)


def vaultembed_process(
    *arguments: str | Path, archive: Path | None = None, failpoint: str | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """A command to its end, in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(archive, failpoint),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start(*arguments: str | Path, archive: Path, failpoint: str | None = None) -> subprocess.Popen[str]:
    """Start a command and leave it running."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=environment(archive, failpoint),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def vaultembed_json(*arguments: str | Path, archive: Path, exit_code: int = 0) -> dict[str, Any]:
    """Run a command with --json and return its data."""
    done = vaultembed(*arguments, "--json", archive=archive)
    assert done.returncode == exit_code, done.stderr + done.stdout
    document = json.loads(done.stdout)
    assert document["vaultembed"] == 1
    assert document["exit_code"] == exit_code
    data: dict[str, Any] = document["data"]
    return data


def environment(archive: Path | None = None, failpoint: str | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VAULTEMBED_FAIL")}
    found = {**kept, "COLUMNS": ""}  # each line whole, as a pipe gets it
    if archive is not None:
        found["VAULTEMBED_ARCHIVE"] = str(archive)
    if failpoint is not None:
        found["VAULTEMBED_FAILPOINT"] = failpoint
    return found
