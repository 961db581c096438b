"""The command line: parse, call the service, render."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn


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

    if isinstance(sys.stdout, io.TextIOWrapper):
        # cp1252 has no arrow, and mail has everything: written out, as stderr does
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        failpoint("command.begins")
        app(prog_name="vaultembed")  # else, however it was started
    except KeyboardInterrupt:
        sys.exit(130)
    except VaultembedError as error:  # before the command itself began
        end(error)
    except BrokenPipeError:  # `vaultembed search … | head`
        from vaultembed.cli.output import let_go_of

        let_go_of(sys.stdout)
        sys.exit(0)
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
