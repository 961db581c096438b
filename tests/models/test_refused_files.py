"""Files that llama.cpp must never see are refused, by name and with the reason."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from vaultembed.errors import ModelError
from vaultembed.models.convert import convert
from vaultembed.models.inspection import inspect_file
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import open_in_process, resolve_model

from . import tiny


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULTEMBED_MODELS", str(tmp_path / "cache"))


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    entry = tiny.write_source(source)
    convert(source, tmp_path / "tiny.gguf", entry)
    return tmp_path / "tiny.gguf"


def _writer(path: Path, architecture: str, write: Callable[[gguf.GGUFWriter], None]) -> Path:
    writer = gguf.GGUFWriter(str(path), architecture)
    write(writer)
    writer.add_embedding_length(32)
    writer.add_context_length(64)
    writer.add_tensor("token_embd.weight", np.zeros((8, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_local_file_tells_its_facts_from_its_metadata(whole: Path) -> None:
    facts = resolve_model(str(whole), query_prefix="query: ").facts
    assert (facts.name, facts.dimension, facts.pooling, facts.context_length) == ("tiny-boat", 32, "mean", 64)
    assert facts.space == f"tiny-boat:w{facts.weights_sha256[:8]}:gguf:32:mean:d-:q08a8bf"
    renamed = whole.rename(whole.with_name("another name.gguf"))
    assert resolve_model(str(renamed), query_prefix="query: ").facts == facts


def test_a_replaced_local_file_is_another_model(whole: Path) -> None:
    before = resolve_model(str(whole)).facts
    content = bytearray(whole.read_bytes())
    content[-100] ^= 0xFF
    whole.write_bytes(content)
    assert resolve_model(str(whole)).facts.space != before.space


def test_a_header_is_read_once_while_its_file_stays_and_again_when_it_does_not(whole: Path) -> None:
    content, as_it_was = whole.read_bytes(), whole.stat()
    before = inspect_file(whole)
    with whole.open("r+b") as file:  # written over behind the back of size and time: nobody looks
        file.write(bytes(8))
    os.utime(whole, ns=(as_it_was.st_atime_ns, as_it_was.st_mtime_ns))
    assert inspect_file(whole) == before
    os.utime(whole, ns=(as_it_was.st_atime_ns, as_it_was.st_mtime_ns + 1))
    with pytest.raises(ModelError, match="is not a GGUF file"):
        inspect_file(whole)
    another = whole.with_name("another")  # of the same size and time, put in its place
    another.write_bytes(content.replace(b"Tiny-Boat", b"Tiny-Bark"))
    os.utime(another, ns=(as_it_was.st_atime_ns, as_it_was.st_mtime_ns))
    another.replace(whole)
    assert inspect_file(whole).text("general.name") != before.text("general.name")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"GGUF", "is cut off"),
        (b"Dear Marta,\n\nthe boat leaves at seven.\n", "is not a GGUF file"),
        (b"PK\x03\x04" + bytes(100), "is not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 1, 1), "GGUF version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1), "cut off or damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(100), "holds no weights"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason) as refusal:
        resolve_model(str(path))
    assert str(path) in refusal.value.message


def test_a_text_as_large_as_a_disk_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 34))
    os.truncate(path, 1 << 35)
    with pytest.raises(ModelError, match="a text of 17,179,869,184 bytes"):
        inspect_file(path)


def test_a_file_cut_off_anywhere_is_refused(whole: Path) -> None:
    content = whole.read_bytes()
    for size in (*range(1, 2000, 13), len(content) // 2, len(content) - 100):
        whole.write_bytes(content[:size])
        with pytest.raises(ModelError):
            resolve_model(str(whole))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        resolve_model(str(tmp_path / "none.gguf"))
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(ModelError, match="is a folder"):
        resolve_model(str(tmp_path / "folder.gguf"))


def test_a_text_generator_is_refused(tmp_path: Path) -> None:
    path = _writer(tmp_path / "chat.gguf", "llama", lambda writer: writer.add_name("Chatty"))
    with pytest.raises(ModelError, match="is not an embedding model: a llama model without pooling"):
        resolve_model(str(path))


def test_a_reranker_is_refused(tmp_path: Path) -> None:
    path = _writer(tmp_path / "rank.gguf", "bert", lambda writer: writer.add_pooling_type(gguf.PoolingType.RANK))
    with pytest.raises(ModelError, match="is a reranker"):
        resolve_model(str(path))


def test_what_passes_the_header_but_not_llama_cpp_is_an_error_by_name(tmp_path: Path) -> None:
    path = _writer(tmp_path / "odd.gguf", "bert", lambda writer: writer.add_pooling_type(gguf.PoolingType.MEAN))
    with pytest.raises(ModelError, match=r"odd\.gguf"):
        open_in_process(resolve_model(str(path)))


def test_one_altered_byte_in_the_weights_is_refused(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    content = bytearray(model.path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (cache / model.path.name).write_bytes(content)
    with pytest.raises(ModelError, match="has been altered") as refusal:
        open_in_process(resolve_model("all-minilm-l6-v2"))
    assert refusal.value.hint is not None
    assert "vaultembed models pull all-minilm-l6-v2" in refusal.value.hint


def test_a_model_not_fetched_and_a_name_not_known_say_what_to_type() -> None:
    with pytest.raises(ModelError, match="vaultembed models pull all-minilm-l6-v2"):
        resolve_model("all-MiniLM-L6-v2")
    with pytest.raises(ModelError, match="Known models: all-minilm-l6-v2"):
        resolve_model("gpt-9")
