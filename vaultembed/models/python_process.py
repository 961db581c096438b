"""Starting our own modules in a process of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_START: Final = "import sys; sys.path.append(sys.argv.pop(1)); from {module} import main; main()"


def python_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `main()` of `module` under this interpreter.

    Not `-m`: that would put the working directory first on the path, and a `json.py` in a mail folder would be run.
    The package's own folder comes last, for where it is neither installed nor on PYTHONPATH.
    """
    root = Path(__file__).resolve().parents[2]
    return [sys.executable, "-P", "-c", _START.format(module=module), str(root), *arguments]
