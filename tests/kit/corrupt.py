"""Damages archives, and tries every command on them.

A command that is tried may crash the process it runs in or never return; so each damaged file gets a process of its
own, forked from one that has everything imported: `python -m tests.kit.corrupt` is that one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.processes import environment

PAGE = 8192
DOCUMENTED = {0, 1, 2, 3, 4, 5, 74, 75}
"""Exit codes of a command that nobody interrupts."""


def flip(path: Path, offset: int) -> None:
    """All bits of one byte, so that it is never a no-op."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0xFF]))


def random_offsets(path: Path, count: int, seed: int) -> list[int]:
    """One byte each in `count` random pages."""
    choice = random.Random(seed)
    pages = path.stat().st_size // PAGE
    picked = choice.sample(range(pages), count) if count <= pages else choice.choices(range(pages), k=count)
    return [page * PAGE + choice.randrange(PAGE) for page in picked]


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one command. `exit_code` is that of a shell: 128 + the signal that ended it; None is a hang."""

    arguments: tuple[str, ...]
    exit_code: int | None
    output: str
    errors: str

    @property
    def complaint(self) -> str | None:
        """What is wrong with how it ended; None where nothing is."""
        if self.exit_code not in DOCUMENTED:
            how = "hung" if self.exit_code is None else f"ended with {self.exit_code}"
        elif "Traceback" in self.errors + self.output:
            how = "printed a traceback"
        elif "Internal error" in self.errors:
            how = "took it for a bug of ours"
        else:
            return None
        return f"{' '.join(self.arguments)} {how}: {self.errors[-2000:]}"


class Trier:
    """Runs commands, each damaged file in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.corrupt"],
            env=environment(),
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def try_all(self, archive: Path, commands: Sequence[Sequence[str]], timeout: float = 60) -> list[Tried]:
        """Each command once; those after a crash are not tried."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"archive": str(archive), "commands": [list(c) for c in commands], "timeout": timeout}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return [Tried(tuple(a["arguments"]), a["exit_code"], a["output"], a["errors"]) for a in answer]


@contextlib.contextmanager
def trier() -> Iterator[Trier]:
    opened = Trier()
    try:
        yield opened
    finally:
        opened.close()


def main() -> None:
    _import_everything()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a crashing child prints is no answer
    for line in sys.stdin:
        print(json.dumps(_fork(**json.loads(line))), file=answers, flush=True)


def _import_everything() -> None:
    import importlib
    import pkgutil

    import vaultembed

    for module in pkgutil.walk_packages(vaultembed.__path__, "vaultembed."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _fork(archive: str, commands: list[list[str]], timeout: float) -> list[dict[str, Any]]:
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        os.environ["VAULTEMBED_ARCHIVE"] = archive
        with os.fdopen(send, "w") as out:
            for arguments in commands:
                out.write(json.dumps(_run(arguments)) + "\n")
                out.flush()
        os._exit(0)
    os.close(send)
    received = b""
    deadline = time.monotonic() + timeout
    is_hanging = False
    while True:
        ready, _, _ = select.select([receive], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            is_hanging = True
            os.kill(child, 9)
        block = os.read(receive, 1 << 16)
        if not block:
            break
        received += block
    os.close(receive)
    _, status = os.waitpid(child, 0)
    done: list[dict[str, Any]] = [json.loads(line) for line in received.splitlines()]
    if len(done) < len(commands):
        code = None if is_hanging else 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        done.append({"arguments": commands[len(done)], "exit_code": code, "output": "", "errors": "(died)"})
    return done


def _run(arguments: list[str]) -> dict[str, Any]:
    """A command as its console script runs it, to its exit."""
    from vaultembed.cli import main as command

    output, errors = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    sys.argv = ["vaultembed", *arguments]
    code: object = 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            command()
        except SystemExit as end:
            code = end.code
    output.flush()
    shown = output.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]
    return {
        "arguments": arguments,
        "exit_code": code or 0,
        "output": shown[-4000:],
        "errors": errors.getvalue()[-4000:],
    }


if __name__ == "__main__":
    main()
