"""How long a command takes before it does anything, against Python itself, in turns.

python -m tests.benchmarks.startup [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "vaultembed --help": [sys.executable, "-m", "vaultembed", "--help"],
    "vaultembed search --help": [sys.executable, "-m", "vaultembed", "search", "--help"],
}


def main(runs: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["python -c pass"])
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"{name:<26} median {median:.3f} s, worst {max(found):.3f} s, {median / base:.1f} times python")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
