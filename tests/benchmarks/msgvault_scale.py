"""Moving in from msgvault at size: time, memory and space, beside an import of the same mail from an mbox.

`python -m tests.benchmarks.msgvault_scale [MESSAGES]`, 100,000 by default; half of them have two vectors.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.kit.msgvault import Mail, mail, write_pair
from tests.kit.processes import COMMAND, environment

DIMENSION = 384
WORDS = [
    f"{a}{b}" for a in ("har", "sto", "mil", "ven", "tra", "lun", "per", "cos") for b in ("bour", "ry", "ler", "ture")
]


def letters(count: int) -> list[Mail]:
    chance = random.Random(0)
    found = []
    for n in range(1, count + 1):
        words = chance.choices(WORDS, k=300 if n % 2 else 120)
        lines = "\n".join(" ".join(words[i : i + 12]) for i in range(0, len(words), 12))
        found.append(mail(n, " ".join(words[:5]), f"{lines}\nletter {n}", embedded=n % 50 != 0))
    return found


def vectors(texts: Sequence[str]) -> np.ndarray:
    return np.random.default_rng(len(texts)).normal(size=(len(texts), DIMENSION)).astype(np.float32)


def timed(*arguments: str | Path, archive: Path) -> tuple[float, float]:
    """Seconds, and the most memory in MB, of a command."""
    started = time.monotonic()
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], env=environment(archive), stdout=subprocess.DEVNULL)
    _, status, usage = resource_of(process.pid)
    assert status == 0, f"{arguments} ended with {status}"
    return time.monotonic() - started, usage.ru_maxrss / 1024


def resource_of(pid: int) -> tuple[int, int, resource.struct_rusage]:
    import os

    return os.wait4(pid, 0)


def make(folder: Path, count: int) -> None:
    mails = letters(count)
    pair = write_pair(folder / "mv", "v2", mails, vectors, model="nomic-embed-text")
    number = sum(len(found) for found in pair.vectors.values())
    with (folder / "box.mbox").open("wb") as stream:
        for one in mails:
            stream.write(b"From x Thu Mar  4 05:06:07 2021\n" + (one.raw or b"").replace(b"\r", b"") + b"\n")
    sizes = [path.stat().st_size / 1e6 for path in (pair.archive, pair.embeddings)]
    print(f"{count:,} messages, {number:,} vectors; msgvault.db {sizes[0]:.0f} MB, vectors.db {sizes[1]:.0f} MB")


def main() -> None:
    if sys.argv[1:2] == ["make"]:
        make(Path(sys.argv[2]), int(sys.argv[3]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # in a process of its own: the most memory of a child includes what its parent had when it was started
        subprocess.run([sys.executable, "-m", __spec__.name, "make", name, str(count)], check=True)
        peer, peer_memory = timed("import", folder / "box.mbox", archive=folder / "mbox.db")
        print(f"the same mail from an mbox: {peer:.1f} s, {count / peer:,.0f} messages/s, {peer_memory:.0f} MB at most")
        archive = folder / "a.db"
        for what, arguments in (
            ("dry run", ("import", "--dry-run", folder / "mv")),
            ("import", ("import", folder / "mv")),
            ("again, nothing new", ("import", folder / "mv")),
        ):
            seconds, memory = timed(*arguments, archive=archive)
            print(
                f"{what}: {seconds:.1f} s, {count / seconds:,.0f} messages/s, {memory:.0f} MB at most;"
                f" {seconds / peer:.2f} of the mbox"
            )
        sizes = [path.stat().st_size / 1e6 for path in (archive, folder / "mbox.db")]
        print(f"archive {sizes[0]:.0f} MB; from the mbox, without vectors, {sizes[1]:.0f} MB")


if __name__ == "__main__":
    main()
