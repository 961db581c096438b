"""The command line: parse, call the service, render."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of `vaultembed`. No traceback ever reaches a person, unless VAULTEMBED_DEBUG is set."""
    from vaultembed.cli.app import app
    from vaultembed.errors import VaultembedError

    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except VaultembedError as error:  # before the command itself began
        from vaultembed.cli.output import tell

        command = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "vaultembed")
        tell(command, "--json" in sys.argv, error)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `vaultembed search … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if os.environ.get("VAULTEMBED_DEBUG"):
            raise
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(74)
    except Exception as error:
        if os.environ.get("VAULTEMBED_DEBUG"):
            raise
        print(f"Internal error: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        print("This is a bug. VAULTEMBED_DEBUG=1 shows where.", file=sys.stderr)  # noqa: T201
        sys.exit(1)
