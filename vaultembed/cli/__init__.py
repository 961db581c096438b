"""The command line: parse, call the service, render."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def main() -> None:
    """Entry point of `vaultembed`. No traceback ever reaches a person, unless VAULTEMBED_DEBUG is set."""
    from vaultembed.cli.app import app
    from vaultembed.errors import StorageError, VaultembedError
    from vaultembed.failpoints import failpoint

    def end(error: VaultembedError) -> NoReturn:
        from vaultembed.cli.output import report  # loads what --help does without

        command = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "vaultembed")
        report(command, error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)

    _prepare_streams()
    try:
        failpoint("command.begins")
        app(prog_name="vaultembed")  # else, however it was started
    except KeyboardInterrupt:
        sys.exit(130)
    except VaultembedError as error:  # before the command itself began
        end(error)
    except OSError as error:
        if os.environ.get("VAULTEMBED_DEBUG"):
            raise
        end(StorageError(": ".join(str(part) for part in (error.filename, error.strerror or error) if part)))
    except Exception as error:
        if os.environ.get("VAULTEMBED_DEBUG"):
            raise
        from vaultembed.service.display import visible

        print(visible(f"Internal error: {type(error).__name__}: {error}"), file=sys.stderr)  # noqa: T201
        print("This is a bug. VAULTEMBED_DEBUG=1 shows where.", file=sys.stderr)  # noqa: T201
        sys.exit(1)


class _Unfailing(io.FileIO):
    """Stderr. What finds no room there, as on a full disk under `2>log`, must not end what the command does."""

    def write(self, data: ReadableBuffer) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _prepare_streams() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller, as with >&-: else the next file that is opened is that
            null = open(os.devnull, mode)  # noqa: SIM115 (until the end)
            os.set_inheritable(null.fileno(), True)
            setattr(sys, name, null)
    if sys.__stderr__ is not None and sys.stderr is sys.__stderr__:
        buffer = io.BufferedWriter(_Unfailing(sys.stderr.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(buffer, sys.stderr.encoding, "backslashreplace", line_buffering=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # cp1252 has no arrow, and mail has everything: written out, as stderr does
        sys.stdout.reconfigure(errors="backslashreplace")
