"""Which process this is, and whether another one still lives: a lease outlives nobody on the same machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Process:
    """One process of one start of one machine. A pid alone is given again to others."""

    host: str
    boot_id: str
    pid: int
    started_at: str
    """As the system tells it; only ever compared for equality."""


def this_process() -> Process:
    pid = os.getpid()
    return Process(platform.node(), _boot_id(), pid, _started_at(pid) or "")


def is_gone(process: Process) -> bool:
    """True only where it is certain: a process of another host may live, whatever we see here."""
    if process.host != platform.node():
        return False
    boot, _, namespace = process.boot_id.partition(" ")
    here, _, namespace_here = _boot_id().partition(" ")
    if boot == here and namespace != namespace_here:
        return False  # in another container, whose pids say nothing here
    return boot != here or _started_at(process.pid) != process.started_at


@cache
def _boot_id() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # two containers may share host name and boot, but not their pids
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return _said_by("sysctl", "-n", "kern.boottime")


def _started_at(pid: int) -> str | None:
    """None where there is no such process, or only its remains."""
    if Path("/proc/self/stat").exists():
        try:
            # the name before ")" may hold anything
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    return _said_by("ps", "-o", "lstart=", "-p", str(pid)) or None


def _said_by(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


_START: Final = "import sys; sys.path.append(sys.argv.pop(1)); from {module} import main; main()"


def python_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `main()` of `module` under this interpreter.

    Not `-m`: that would put the working directory first on the path, and a `json.py` in a mail folder would be run.
    The package's own folder comes last, for where it is neither installed nor on PYTHONPATH.
    """
    root = Path(__file__).resolve().parents[1]
    return [sys.executable, "-P", "-c", _START.format(module=module), str(root), *arguments]
