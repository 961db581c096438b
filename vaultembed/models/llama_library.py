"""llama.cpp, loaded, silent, and asked for a model. Everything that owns native memory says who frees it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any, Final

from llama_cpp import llama_cpp as llama

from vaultembed.errors import ModelError


@llama.llama_log_callback  # type: ignore[untyped-decorator]
def _discard(level: int, text: bytes, data: int) -> None:
    """llama.cpp reports on stderr; a person reading results there would think something is wrong."""


_SILENCE: Final = _discard
"""Held for as long as the process lives: llama.cpp keeps only the address."""


def load_model(path: Path, **parameters: Any) -> Any:
    """A model (`llama_model *`), owned by the caller: `llama.llama_model_free`.

    `parameters`: fields of `llama_model_params` that differ from llama.cpp's defaults.

    Raises:
        ModelError: llama.cpp cannot load it (an architecture it does not know, say).
    """
    llama.llama_log_set(_SILENCE, ctypes.c_void_p(0))
    llama.llama_backend_init()
    chosen = llama.llama_model_default_params()
    for name, value in parameters.items():
        setattr(chosen, name, value)
    model = llama.llama_model_load_from_file(os.fsencode(path), chosen)
    if not model:
        raise ModelError(
            f"llama.cpp cannot load the model file {path}.",
            "Perhaps this build does not know its architecture; try: pip install -U llama-cpp-python",
        )
    return model
