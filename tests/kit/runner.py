"""Real processes that do what the commands do, with the word-hash embedder: to be killed by the hundred.

`python -m tests.kit.runner ACTION ARCHIVE [options]` is one such process. ACTION is build, activate, rollback,
discard, prune, import or open. Starting Python and importing everything takes longer than most of what is to be killed,
so `Runners` has one process with everything imported, which forks: each run is a process of its own with connections of
its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from tests.kit.embedder import WordHashEmbedder
from tests.kit.faulty_vfs import Disk, FaultyVFS
from tests.kit.processes import environment
from vaultembed import failpoints
from vaultembed.archive.database import open_archive
from vaultembed.archive.generations import leases
from vaultembed.archive.upkeep import pruning
from vaultembed.embeddings import ahead
from vaultembed.embeddings.build import Observer, Options, Wanted, build, choose_generation
from vaultembed.embeddings.worker import Limits
from vaultembed.errors import VaultembedError
from vaultembed.models.protocol import Embedded, Role
from vaultembed.msgvault import batches
from vaultembed.service.importing import import_mail
from vaultembed.service.transitions import activate_generation, discard_generation, roll_back

ROOT = Path(__file__).parents[2]


class SlowEmbedder(WordHashEmbedder):
    """Takes its time over each text, and writes down what it has embedded, where a kill cannot take it back."""

    def __init__(self, name: str, milliseconds: float, log: Path | None) -> None:
        super().__init__(name)
        self._seconds = milliseconds / 1000
        self._log = -1 if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._is_counting = False

    def start_counting(self, _run_id: int) -> None:
        """What is embedded before, to try the model and to estimate the build, are no messages."""
        self._is_counting = True

    def stop_counting(self) -> None:
        """A sample is embedded again to verify the generation."""
        self._is_counting = False

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        time.sleep(self._seconds * len(texts))
        embedded = super().embed(texts, role)
        if self._is_counting and self._log >= 0:
            digests = [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts]
            os.write(self._log, "".join(f"{digest}\n" for digest in digests).encode())
        return embedded


def times_embedded(log: Path) -> Counter[str]:
    """How often each text was embedded, in all runs that wrote to this log."""
    return Counter(log.read_text().split()) if log.exists() else Counter()


def run_build(archive: Path, given: argparse.Namespace) -> None:
    embedder = SlowEmbedder(given.model, given.milliseconds, given.log)
    with open_archive(archive) as opened:
        opened.load_vec()
        pruning.collect_garbage(opened)
        job = choose_generation(opened, embedder, None, Wanted(model_named=True))
        limits = Limits(messages=given.limit)
        options = Options(max_failed=given.max_failed, hold=given.hold, backstop_hours=0.0, limits=limits)
        observer = Observer(on_start=embedder.start_counting, on_filled=embedder.stop_counting)
        built = build(opened, embedder, job, options, observer)
    if built.interrupted:
        sys.exit(3)


def prune(archive: Path) -> None:
    with open_archive(archive) as opened:
        opened.load_vec()
        found = pruning.find_prunable(opened)
        for generation in found.generations + found.begun:
            pruning.prune_generation(opened, generation.id)
        pruning.collect_garbage(opened)
        pruning.remove_unused_texts(opened)


def act(given: argparse.Namespace) -> None:
    archive: Path = given.archive
    if given.batch:
        ahead.BATCH_CHUNKS = given.batch
        batches.BATCH_MESSAGES = given.batch
    if given.lease:
        ahead.LEASE_MESSAGES = given.lease
    if given.expires:
        leases.EXPIRES_SECONDS = given.expires
        ahead.HEARTBEAT_SECONDS = given.expires / 5
    if given.failpoint:
        os.environ[failpoints.VARIABLE] = given.failpoint
    if given.statement:
        apsw.connection_hooks.append(Statements(given.statement, given.count).watch)
    vfs = FaultyVFS(Disk(given.disk)) if given.disk else None
    try:
        match given.action:
            case "build":
                run_build(archive, given)
            case "activate":
                activate_generation(archive, given.generation, max_failed=0)
            case "rollback":
                roll_back(archive)
            case "discard":
                discard_generation(archive)
            case "prune":
                prune(archive)
            case "import":
                import_mail(archive, [given.source])
            case "open":
                with open_archive(archive):
                    pass
    finally:
        del vfs


class Statements:
    """Counts the SQL statements of this process, and kills it before the N-th."""

    def __init__(self, number: int, count: Path | None) -> None:
        self._number = number
        self._count = count
        self._done = 0

    def watch(self, connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, self._before)

    def _before(self, event: dict[str, Any]) -> None:
        if event.get("trigger"):
            return  # of the statement that set it off
        self._done += 1
        if self._count is not None:
            self._count.write_text(str(self._done))
        if self._done == self._number:
            os.kill(os.getpid(), signal.SIGKILL)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=("build", "activate", "rollback", "discard", "prune", "import", "open"))
    parser.add_argument("archive", type=Path)
    parser.add_argument("--model", default="word-hash")
    parser.add_argument("--log", type=Path, help="append a line for each text embedded")
    parser.add_argument("--milliseconds", type=float, default=0, help="that each text takes")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--max-failed", type=int, default=0)
    parser.add_argument("--batch", type=int, help="chunks of a batch; of an import, messages")
    parser.add_argument("--lease", type=int, help="messages of a lease")
    parser.add_argument("--expires", type=float, help="seconds after which a silent worker is taken for dead")
    parser.add_argument("--generation", type=int)
    parser.add_argument("--source", type=Path, help="what to import")
    parser.add_argument("--failpoint", help="as VAULTEMBED_FAILPOINT")
    parser.add_argument("--statement", type=int, help="be killed before this SQL statement; -1: before none")
    parser.add_argument("--count", type=Path, help="write the number of SQL statements here")
    parser.add_argument("--disk", help="a mode of tests.kit.faulty_vfs")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    try:
        act(parse(arguments))
    except VaultembedError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0


@dataclass(slots=True)
class Run:
    """One process of a runner. Not a child of the test: `Runners` is asked about it."""

    runners: Runners
    pid: int
    errors: Path
    exit_code: int | None = None
    """Negative: the signal that ended it."""

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.poll() is None:  # its number is not given to another before it was waited for
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        if self.exit_code is None:
            self.exit_code = self.runners.ask({"poll": self.pid})
        return self.exit_code

    def wait(self, seconds: float = 60) -> int:
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"a runner did not end in {seconds:g} s: {self.errors.read_text()}")
            time.sleep(0.005)
        assert self.exit_code is not None
        return self.exit_code


class Runners:
    """Forks runners from a process that has imported everything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.runner", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
            text=True,
        )

    def ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, action: str, archive: Path, *options: str | Path | float) -> Run:
        self._started += 1
        errors = self._folder / f"runner-{self._started}.err"
        pid = self.ask({"run": [action, str(archive), *map(str, options)], "errors": str(errors)})
        return Run(self, pid, errors)

    def run(self, action: str, archive: Path, *options: str | Path | float) -> int:
        """To its end."""
        return self.start(action, archive, *options).wait()

    def succeed(self, action: str, archive: Path, *options: str | Path | float) -> None:
        """To its end, which must be a good one."""
        run = self.start(action, archive, *options)
        assert run.wait() == 0, run.errors.read_text()

    def close(self) -> None:
        """Whatever still runs is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve() -> None:
    running: set[int] = set()
    for line in sys.stdin:
        question = json.loads(line)
        if "run" in question:
            pid = os.fork()
            if pid == 0:
                run_forked(question["run"], question["errors"])
            running.add(pid)
            answer = pid
        else:
            pid, status = os.waitpid(question["poll"], os.WNOHANG)
            running.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def run_forked(arguments: Sequence[str], errors: str) -> None:
    """Does not return."""
    file = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, to in ((0, nothing), (1, file), (2, file)):
        os.dup2(to, number)
    exit_code = 1
    try:
        exit_code = main(arguments)
    except SystemExit as ended:
        exit_code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(exit_code)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        sys.exit(main(sys.argv[1:]))
