"""How the MCP server holds up: clients that ask without a pause, while another process embeds with another model.

    python -m tests.benchmarks.mcp_load MAIL [--clients 8] [--seconds 60] [--archive FILE] [--build-alone 60]

The archive is made of MAIL, with random vectors under the facts of the real model, so that it is there in minutes and
asked by the real model. Told are the time of each tool (p50, p95), errors, memory, and how fast the build beside it is,
alone and under load. At the end a message is imported by another process: the next answer must show it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.kit.assistant import assistant_over_http, http_server
from tests.kit.mail import mail, mbox
from tests.kit.processes import COMMAND, environment, vaultembed, vaultembed_process
from vaultembed.archive.database import open_archive
from vaultembed.embeddings.build import MAX_FAILED, Observer, Options, Wanted, build, choose_generation
from vaultembed.models.open import open_in_process, resolve_model
from vaultembed.models.protocol import Embedded, Embedder, ModelFacts, Role


class Imitation:
    """Vectors of its own making for messages, the real ones for the few texts that a build tries the model with."""

    def __init__(self, real: Embedder) -> None:
        self._real = real
        self.is_trying = True

    @property
    def facts(self) -> ModelFacts:
        return self._real.facts

    def count_tokens(self, text: str) -> int:
        return self._real.count_tokens(text)

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        if self.is_trying:
            return self._real.embed(texts, role)
        seeds = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in texts]
        vectors = np.array([np.random.default_rng(seed).standard_normal(self.facts.dimension) for seed in seeds])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embedded(vectors.astype(np.float32), sum(len(text) // 4 for text in texts))

    def close(self) -> None:
        self._real.close()


def make_archive(path: Path, folder: Path) -> None:
    done = vaultembed_process("import", folder, archive=path, timeout=1_800)
    assert done.returncode == 0, done.stderr
    imitation = Imitation(open_in_process(resolve_model()))
    with open_archive(path) as archive:
        archive.load_vec()
        job = choose_generation(archive, imitation, None, Wanted(model_named=True))

        def begin(_run: int) -> None:
            imitation.is_trying = False

        build(archive, imitation, job, Options(max_failed=MAX_FAILED), Observer(on_start=begin))
    imitation.close()


def embedded_by_build(path: Path) -> int:
    done = vaultembed("stats", "--json", archive=path)
    building = json.loads(done.stdout)["data"]["vector_search"]["building_generation"]
    return 0 if building is None else int(building["progress"]["done"])


def resident(pid: int) -> int:
    """Bytes of a process and its children."""
    total = 0
    for one in [pid, *children(pid)]:
        status = Path(f"/proc/{one}/status").read_text()
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024
    return total


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [int(one) for one in found]


class Clients:
    """Threads that ask, each over a connection of its own."""

    def __init__(self, url: str, number: int, words: Sequence[str], messages: int) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []
        self._url = url
        self._words = words
        self._messages = messages
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(number)]

    def run(self, seconds: float) -> None:
        for thread in self._threads:
            thread.start()
        time.sleep(seconds)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        chance = random.Random(number)
        try:
            with assistant_over_http(self._url) as helper:
                while not self._stop.is_set():
                    tool, arguments = self._question(chance)
                    began = time.perf_counter()
                    helper.call(tool, **arguments)
                    self.seconds[tool].append(time.perf_counter() - began)
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")

    def _question(self, chance: random.Random) -> tuple[str, dict[str, Any]]:
        query = " ".join(chance.choices(self._words, k=4))
        some = chance.randint(1, self._messages)
        return chance.choices(
            [
                ("search_messages", {"query": query}),
                ("search_messages", {"query": query, "after": "2008", "mode": "vector"}),
                ("find_similar_messages", {"message_id": some}),
                ("get_message", {"message_id": some}),
                ("get_thread", {"message_id": some, "limit": 10}),
                ("list_messages", {"limit": 20}),
                ("aggregate", {"by": "sender", "after": "2010"}),
                ("get_stats", {}),
            ],
            weights=[8, 2, 2, 4, 2, 2, 1, 1],
        )[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mail", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--archive", type=Path, help="made before; kept")
    parser.add_argument("--build-alone", type=float, default=60, help="seconds that the build is measured alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.archive or Path(folder) / "a.db"
        if not path.exists():
            began = time.monotonic()
            make_archive(path, given.mail)
            print(f"archive made in {time.monotonic() - began:.0f} s")
        measure(path, Path(folder), given)


def measure(path: Path, folder: Path, given: argparse.Namespace) -> None:
    with open_archive(path) as archive:
        messages = int(archive.scalar("SELECT max(id) FROM messages"))
        subjects = archive.rows("SELECT subject FROM messages ORDER BY id LIMIT 2000")
    words = sorted({word for (subject,) in subjects for word in subject.split() if word.isalpha()})
    print(f"{messages:,} messages, {path.stat().st_size / 1e6:.0f} MB; {given.clients} clients, {given.seconds:.0f} s")
    builder = subprocess.Popen(
        [*COMMAND, "embeddings", "build", "--chunk-tokens", "128"],
        env=environment(path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(20)
        before, began = embedded_by_build(path), time.monotonic()
        time.sleep(given.build_alone)
        alone = (embedded_by_build(path) - before) / (time.monotonic() - began)
        with http_server(path) as url:
            pid = server_pid(url)
            clients = Clients(url, given.clients, words, messages)
            before, began = embedded_by_build(path), time.monotonic()
            clients.run(given.seconds)
            taken = time.monotonic() - began
            loaded = (embedded_by_build(path) - before) / taken
            report(clients, taken)
            print(f"memory of the server with its model: {resident(pid) / 1e6:.0f} MB")
            print(f"build: {alone:.1f} messages/s alone, {loaded:.1f} under load")
            check_fresh(path, folder, url)
    finally:
        builder.terminate()
        builder.wait()


def server_pid(url: str) -> int:
    """Of this process's children: another server may be running on this machine."""
    port = url.split(":")[2].split("/")[0]
    return next(
        pid
        for pid in children(os.getpid())
        if b"--http" in Path(f"/proc/{pid}/cmdline").read_bytes()
        and f":{int(port):04X} " in Path(f"/proc/{pid}/net/tcp").read_text()
    )


def report(clients: Clients, taken: float) -> None:
    for tool, seconds in sorted(clients.seconds.items()):
        ordered = sorted(seconds)
        p95 = ordered[int(len(ordered) * 0.95)]
        print(
            f"  {tool:<22} {len(seconds):>6} calls  p50 {1000 * statistics.median(seconds):6.0f} ms"
            f"  p95 {1000 * p95:6.0f} ms  max {1000 * ordered[-1]:6.0f} ms"
        )
    total = sum(map(len, clients.seconds.values()))
    print(f"  {total / taken:.1f} calls/s, {len(clients.errors)} errors {clients.errors[:3]}")


def check_fresh(path: Path, folder: Path, url: str) -> None:
    with assistant_over_http(url) as helper:
        query = {"query": "xyloquartz", "mode": "text"}
        assert helper.call("search_messages", **query)["results"] == []
        box = mbox(folder / "new", [mail("xyloquartz", "new", message_id=f"{time.time()}@example.org")])
        done = vaultembed("import", box, archive=path)
        assert done.returncode == 0, done.stderr
        found = helper.call("search_messages", **query)["results"]
        print(f"a message imported by another process is in the next answer: {len(found) == 1}")


if __name__ == "__main__":
    main()
