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
    """True only where it is certain. The host does not count: two machines may have one name, and one changes its name
    with the network. Nor does another boot: it may be another machine's."""
    if not process.boot_id or process.boot_id != _boot_id():
        return False
    started_at = _started_at(process.pid)
    return started_at is None or bool(started_at and process.started_at and started_at != process.started_at)


@cache
def _boot_id() -> str:
    """Of this start of this machine, and the container, whose pids say nothing elsewhere. "" where it is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        # not kern.boottime: that changes when the clock is set
        return _said_by("sysctl", "-n", "kern.bootsessionuuid")


def _started_at(pid: int) -> str | None:
    """None where there is no such process, or only its remains; "" where that cannot be seen."""
    if Path("/proc/self/stat").exists():
        try:
            # the name before ")" may hold anything
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            return "" if _may_exist(pid) else None
        return None if fields[0] in "ZX" else fields[19]
    return _said_by("ps", "-o", "lstart=", "-p", str(pid)) or ("" if _may_exist(pid) else None)


def _may_exist(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError, TypeError):
        return False
    except PermissionError:
        pass  # another user's, which may be hidden
    return True


def _said_by(*command: str) -> str:
    try:
        as_anywhere = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}  # what is compared is not to depend on who asks
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, env=as_anywhere)
        return said.stdout.strip()
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
