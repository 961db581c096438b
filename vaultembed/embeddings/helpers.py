"""The other workers of `embeddings build --workers N`: processes of their own, which share the work by leases.

A helper gets its job on standard input, and stops when that ends: so it outlives no build.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vaultembed.deadline import heeding
from vaultembed.errors import StoppedError, VaultembedError
from vaultembed.models.frames import pack_model, unpack_model
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import open_in_child
from vaultembed.processes import python_command
from vaultembed.text.visible import one_line

if TYPE_CHECKING:
    from vaultembed.embeddings.recipe import Job
    from vaultembed.embeddings.worker import Limits

_LOOK_SECONDS: Final = 0.05
_STOPS_SECONDS: Final = 5
"""A helper that was told to stop and has not by then is killed: it is frozen, say."""


class Helpers:
    """The helper processes of one build."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self.process_ids: tuple[int, ...] = ()

    def start(self, count: int, archive: Path, model: ModelFile, job: Job, limits: Limits) -> None:
        for number in range(1, count + 1):
            share = limits.share(count + 1, number)
            if share.messages == 0:
                continue
            order = {
                "archive": str(archive),
                "model": json.loads(pack_model(model)),
                "generation": job.generation.id,
                "recipe": job.recipe.tag,
                "limits": asdict(share),
                "workers": count + 1,
            }
            # its own session: Ctrl-C in the terminal is answered by the build, which then ends its helpers
            process = subprocess.Popen(
                python_command("vaultembed.embeddings.helpers"), stdin=subprocess.PIPE, start_new_session=True
            )
            self._processes.append(process)
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(json.dumps(order).encode() + b"\n")
                    process.stdin.flush()
        self.process_ids = tuple(process.pid for process in self._processes)

    def wait(self, should_stop: Callable[[], bool]) -> None:
        """Until each has done its part by itself, or all are to stop."""
        while any(process.poll() is None for process in self._processes) and not should_stop():
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """Tell them. May be called twice, and from any thread."""
        for process in self._processes:
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()

    def close(self) -> None:
        """Let them write what they have embedded, and wait for that. May be called twice."""
        self.stop()
        until = time.monotonic() + _STOPS_SECONDS
        for process in self._processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


def main() -> None:
    from vaultembed.archive.database import open_archive
    from vaultembed.archive.generations.records import generation_with_id
    from vaultembed.embeddings.recipe import Job, Recipe
    from vaultembed.embeddings.stopping import StoppableEmbedder
    from vaultembed.embeddings.worker import Filler, Limits

    ended = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: ended.set())
    order: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    model = unpack_model(json.dumps(order["model"]).encode())
    limits = Limits(**order["limits"])

    def should_stop() -> bool:  # at the end of its time without a first batch, too: that is up to the build itself
        return ended.is_set() or (limits.until is not None and time.monotonic() >= limits.until)

    embedder = StoppableEmbedder(open_in_child(model, share=order["workers"]), should_stop)
    try:
        with heeding(ended.is_set), open_archive(Path(order["archive"])) as archive:
            archive.load_vec()
            job = Job(generation_with_id(archive, order["generation"]), Recipe.from_tag(order["recipe"]))
            Filler(archive, job, embedder, limits=limits, should_stop=should_stop).run()
    except StoppedError as error:
        sys.exit(error.exit_code)
    except VaultembedError as error:
        print(f"A worker stopped: {one_line(error.message)}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    finally:
        embedder.close()


def _wait_for_end(ended: threading.Event) -> None:
    # not by `sys.stdin`: its lock is held while one waits, and Python aborts where it cannot have that when it ends
    while os.read(0, 1024):
        pass
    ended.set()


if __name__ == "__main__":
    main()
