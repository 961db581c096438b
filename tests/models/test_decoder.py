"""An embedding model of the other family: causal, last-token pooling, rotary positions, a SentencePiece vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from vaultembed.models.errors import BadTextError
from vaultembed.models.llama import LlamaEmbedder
from vaultembed.models.open import open_in_process, resolve_model

_WIDTH, _INNER, _LAYERS, _CONTEXT = 64, 128, 2, 4096
_PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *"abcdefghijklmnopqrstuvwxyz"]


def _write_decoder(path: Path) -> Path:
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("Tiny Decoder")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // 4)
    writer.add_pooling_type(gguf.PoolingType.LAST)
    writer.add_vocab_size(len(_PIECES))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(_PIECES)
    writer.add_token_scores([0.0] * len(_PIECES))
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    writer.add_token_types([int(k) for k in [*kinds, *[gguf.TokenType.NORMAL] * (len(_PIECES) - len(kinds))]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    random = np.random.default_rng(5)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", (random.standard_normal(shape) * 0.2).astype(np.float32))

    add("token_embd", len(_PIECES), _WIDTH)
    add("output_norm", _WIDTH)
    for layer in range(_LAYERS):
        for part, shape in (
            ("attn_norm", (_WIDTH,)),
            ("attn_q", (_WIDTH, _WIDTH)),
            ("attn_k", (_WIDTH // 2, _WIDTH)),
            ("attn_v", (_WIDTH // 2, _WIDTH)),
            ("attn_output", (_WIDTH, _WIDTH)),
            ("ffn_norm", (_WIDTH,)),
            ("ffn_gate", (_INNER, _WIDTH)),
            ("ffn_up", (_INNER, _WIDTH)),
            ("ffn_down", (_WIDTH, _INNER)),
        ):
            add(f"blk.{layer}.{part}", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LlamaEmbedder]:
    monkeypatch.setenv("VAULTEMBED_MODELS", str(tmp_path / "cache"))
    embedder = open_in_process(resolve_model(str(_write_decoder(tmp_path / "decoder.gguf"))))
    yield embedder
    embedder.close()


def test_a_decoder_forgets_one_batch_before_the_next(decoder: LlamaEmbedder) -> None:
    texts = ["the boat", "a roof", "an invoice for the roof", "short"] * 40
    together = decoder.embed(texts).vectors
    for index in (0, 1, 2, 3, 159):
        assert together[index] @ decoder.embed([texts[index]]).vectors[0] > 0.999
    assert together[0] @ together[1] < 0.999


def test_its_texts_may_be_longer_than_a_batch_but_not_than_its_limit(decoder: LlamaEmbedder) -> None:
    assert decoder.facts.context_length == 2048
    tokens = decoder.count_tokens("a" * 1000)
    assert 256 < decoder.embed(["a" * 1000]).tokens == tokens
    with pytest.raises(BadTextError):
        decoder.embed(["a" * 5000])


def test_special_tokens_spelled_out_are_text_there_too(decoder: LlamaEmbedder) -> None:
    assert decoder.count_tokens("</s>") > decoder.count_tokens("a") + 2
    assert decoder.embed(["\ud800", "", "\x00"]).vectors.shape[0] == 3
