"""Disks that fill and fail, and kills at the n-th write, below a real `vaultembed` process.

`python -m tests.kit.faulty_vfs MODE -- ARGUMENTS…` is `vaultembed ARGUMENTS…` with the files of SQLite going through a
VFS that at one moment does what MODE says:

    kill:wal:N      SIGKILL to itself at the N-th write to a write-ahead log
    kill:any:N      … at the N-th write to any file of the archive
    full:BYTES      no file can grow any more once all of them together have grown by BYTES
    eio:write:N     the N-th write fails, and each after it
    eio:read:N      the N-th read
    eio:sync:N      the N-th sync

Writes, reads and syncs are counted over the archive, its write-ahead log and its journal; temporary files are not those
of the disk that matters. Readers that map the file into memory do not come by here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import apsw

from tests.kit.processes import environment

NAME = "faulty"
_OF_ARCHIVE = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL


class Disk:
    """What the mode asks for, and how far it is. One a process."""

    def __init__(self, mode: str) -> None:
        kind, *rest = mode.split(":")
        self._kind = kind
        self._what = rest[0] if len(rest) == 2 else ""
        self._number = int(rest[-1])
        self._done: Counter[str] = Counter()
        self._grown: dict[str, int] = {}
        if (kind, self._what) not in KINDS:
            raise SystemExit(f"{mode} is no mode of a faulty disk")

    def before_write(self, name: str, flags: int, size: int, end: int) -> None:
        """`size`: of the file as it is; `end`: where the write will end."""
        is_wal = bool(flags & apsw.SQLITE_OPEN_WAL)
        self._done["any"] += 1
        self._done["wal"] += is_wal
        if self._kind == "kill" and (is_wal or self._what == "any") and self._done[self._what] == self._number:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._kind == "full" and end > size:
            if sum(self._grown.values()) + end - size > self._number:
                raise apsw.FullError("database or disk is full")
            self._grown[name] = self._grown.get(name, 0) + end - size
        self._fail("write", self._done["any"], apsw.SQLITE_IOERR_WRITE)

    def before_truncate(self, name: str, size: int, to: int) -> None:
        self._grown[name] = self._grown.get(name, 0) + to - size

    def before_delete(self, name: str, size: int) -> None:
        self.before_truncate(name, size, 0)

    def before_read(self) -> None:
        self._done["read"] += 1
        self._fail("read", self._done["read"], apsw.SQLITE_IOERR_READ)

    def before_sync(self) -> None:
        self._done["sync"] += 1
        self._fail("sync", self._done["sync"], apsw.SQLITE_IOERR_FSYNC)

    def _fail(self, what: str, done: int, code: int) -> None:
        if self._kind == "eio" and self._what == what and done >= self._number:
            error = apsw.IOError("disk I/O error")
            error.extendedresult = code
            raise error


KINDS = {("kill", "wal"), ("kill", "any"), ("full", ""), ("eio", "write"), ("eio", "read"), ("eio", "sync")}


class FaultyFile(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], disk: Disk) -> None:
        super().__init__("unix", name, flags)
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._flags = flags[0]
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.before_write(self._name, self._flags, self.xFileSize(), offset + len(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.before_truncate(self._name, self.xFileSize(), newsize)
        super().xTruncate(newsize)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.before_read()
        return super().xRead(amount, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.before_sync()
        super().xSync(flags)

    def excepthook(self, *_error: object) -> bool:
        """SQLite is told; nothing is to be printed beside what the command says."""
        return True


class FaultyVFS(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(NAME, "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if flags[0] & _OF_ARCHIVE:
            return FaultyFile(name, flags, self._disk)
        return apsw.VFSFile("unix", name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        try:
            size = os.stat(filename).st_size
        except OSError:
            size = 0
        super().xDelete(filename, syncdir)
        self._disk.before_delete(filename, size)

    def excepthook(self, *_error: object) -> bool:
        return True


def start_faulty(mode: str, *arguments: str | Path, archive: Path) -> subprocess.Popen[str]:
    """Start a command on a faulty disk and leave it running."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.kit.faulty_vfs", mode, "--", *map(str, arguments)],
        env=environment(archive),
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_faulty(
    mode: str, *arguments: str | Path, archive: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command on a faulty disk to its end."""
    process = start_faulty(mode, *arguments, archive=archive)
    try:
        output, errors = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def main() -> None:
    mode, _, *arguments = sys.argv[1:]
    vfs = FaultyVFS(Disk(mode))
    sys.argv = ["vaultembed", *arguments]
    from vaultembed.cli import main as command

    try:
        command()
    finally:
        del vfs


if __name__ == "__main__":
    main()
