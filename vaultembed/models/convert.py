"""A BERT sentence model from safetensors to GGUF, as float16.

Only `numpy` and `gguf` take part. The same source gives the same bytes: nothing of time, place or machine goes in,
and tensors keep the order of the source file. Names and shapes as in llama.cpp's own conversion (convert_hf_to_gguf).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vaultembed.errors import ModelError
from vaultembed.models.inspection import CONVERTER_KEY, SOURCE_KEY
from vaultembed.models.registry import RegistryModel

if TYPE_CHECKING:
    import gguf
    import numpy as np
    import numpy.typing as npt

CONVERTER: Final = "c1f16"
"""Names this conversion in fingerprints. Whatever changes the vectors that come out takes a new name."""

_OUTSIDE: Final[Mapping[str, str]] = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
_IN_LAYER: Final[Mapping[str, str]] = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_KEPT_FLOAT32: Final = frozenset({"position_embd.weight", "token_types.weight"})
"""Besides everything with one dimension: llama.cpp adds them to float32 activations as they are."""

_ELEMENTS: Final[Mapping[str, str]] = {"F32": "<f4", "F16": "<f2"}


def convert(source: Path, target: Path, model: RegistryModel) -> None:
    """Writes the GGUF of `model` to `target`, from its files in the folder `source` (checked by the caller).

    Raises:
        ModelError: they are not the kind of model that this conversion knows.
    """
    import gguf

    config = json.loads((source / "config.json").read_text("utf-8"))
    tokenizer = json.loads((source / "tokenizer.json").read_text("utf-8"))
    if config.get("model_type") != "bert" or tokenizer["model"]["type"] != "WordPiece":
        raise ModelError(f"{model.title} is not a BERT model with a WordPiece vocabulary; it cannot be converted.")
    writer = gguf.GGUFWriter(str(target), "bert")
    _add_facts(writer, model, config)
    _add_vocabulary(writer, config, tokenizer)
    for name, values in _tensors(source / "model.safetensors"):
        short = values.ndim == 2 and name not in _KEPT_FLOAT32
        writer.add_tensor(name, values.astype("<f2" if short else "<f4"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_facts(writer: gguf.GGUFWriter, model: RegistryModel, config: dict[str, Any]) -> None:
    import gguf

    writer.add_name(model.title)
    writer.add_license(model.licence)
    writer.add_source_url(model.url)
    writer.add_string(SOURCE_KEY, model.weights_sha256)
    writer.add_string(CONVERTER_KEY, CONVERTER)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType[model.pooling.upper()])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _add_vocabulary(writer: gguf.GGUFWriter, config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    """The vocabulary in the "phantom space" form: a piece that begins a word is marked, not one that continues it."""
    import gguf

    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"] if token["special"]}
    size = config["vocab_size"]
    pieces = [f"[PAD{number}]" for number in range(size)]
    kinds = [gguf.TokenType.UNUSED] * size
    for piece, number in tokenizer["model"]["vocab"].items():
        if piece in special:
            pieces[number], kinds[number] = piece, gguf.TokenType.CONTROL
        else:
            pieces[number] = piece[2:] if piece.startswith("##") else f"\u2581{piece}"
            kinds[number] = gguf.TokenType.NORMAL
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_bos_token_id(special["[CLS]"])
    writer.add_eos_token_id(special["[SEP]"])
    writer.add_uint32("tokenizer.ggml.cls_token_id", special["[CLS]"])
    writer.add_sep_token_id(special["[SEP]"])
    writer.add_unk_token_id(special["[UNK]"])
    writer.add_pad_token_id(special["[PAD]"])
    writer.add_mask_token_id(special["[MASK]"])
    normalizer = tokenizer["normalizer"]
    lowercase = bool(normalizer["lowercase"])
    strip = normalizer["strip_accents"]  # null: as `lowercase`
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", lowercase)
    writer.add_bool("tokenizer.ggml.normalizer.strip_accents", lowercase if strip is None else bool(strip))


def _tensors(path: Path) -> Iterator[tuple[str, npt.NDArray[np.floating[Any]]]]:
    """What the file holds that inference needs, under GGUF's names, mapped rather than read."""
    import numpy as np

    content = np.memmap(path, dtype=np.uint8, mode="r")
    (size,) = struct.unpack("<Q", content[:8].tobytes())
    index = json.loads(content[8 : 8 + size].tobytes())
    for name, entry in index.items():
        target = _gguf_name(name)
        if target is not None:
            first, last = entry["data_offsets"]
            values = content[8 + size + first : 8 + size + last].view(_ELEMENTS[entry["dtype"]])
            yield target, values.reshape(entry["shape"])


def _gguf_name(name: str) -> str | None:
    """None for what inference does not use: `pooler`, `position_ids`, the safetensors' own metadata."""
    base, _, leaf = name.removeprefix("bert.").rpartition(".")
    if base in _OUTSIDE:
        return f"{_OUTSIDE[base]}.{leaf}"
    if base.startswith("encoder.layer."):
        layer, _, part = base.removeprefix("encoder.layer.").partition(".")
        return f"blk.{layer}.{_IN_LAYER[part]}.{leaf}"
    return None
