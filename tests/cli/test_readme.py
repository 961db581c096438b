"""Every command in the README runs as it stands there. Those that install and test are run by CI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vaultembed.models.model_file import ModelFile
from vaultembed.sample import sample_path

ROOT = Path(__file__).resolve().parents[2]


def commands(marked: bool) -> list[str]:
    readme = (ROOT / "README.md").read_text()
    found = []
    for mark, block in re.findall(r"(<!-- run by CI[^\n]*\n)?```sh\n(.*?)```", readme, re.DOTALL):
        if bool(mark) == marked:
            found += [line for line in block.splitlines() if line.strip()]
    return found


def test_the_commands_that_install_and_test_are_there_for_ci_to_run() -> None:
    assert len(commands(marked=True)) == 3


@pytest.mark.slow
def test_the_commands_for_ones_own_mail_run_in_order(tmp_path: Path, model: ModelFile) -> None:
    script = Path(sys.executable).with_name("vaultembed")
    if not script.exists():
        pytest.skip("vaultembed is not installed beside this Python: pip install -e '.[dev]'")
    home = tmp_path / "home"
    (home / "Mail").mkdir(parents=True)
    shutil.copy(sample_path(), home / "Mail" / "inbox")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("VAULTEMBED_A", "XDG_"))},
        "VAULTEMBED_MODELS": str(model.path.parent),
        "HOME": str(home),
        "PATH": f"{script.parent}:{os.environ['PATH']}",
    }
    run = commands(marked=False)
    assert len(run) >= 9
    for command in run:
        assert command.startswith("vaultembed ")
        done = subprocess.run(
            command, shell=True, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout, command
