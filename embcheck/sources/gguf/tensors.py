"""What a GGUF file says of a model: its tensors as `NamedLayers` asks for them, its facts as a config.json has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.gguf.header import check_matrix
from embcheck.sources.gguf.types import load, refuse_undequantizable
from embcheck.sources.naming.config_facts import embedding_scale

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

    from embcheck.sources.files.access import RandomAccess
    from embcheck.sources.gguf.header import Header

__all__ = ["GgufTensors", "gguf_config", "gguf_scale"]


class GgufTensors:
    """Those of a GGUF file, dequantized."""

    def __init__(self, access: RandomAccess, header: Header) -> None:
        self.origin = access.name
        self.bytes_read = 0
        self._access = access
        self._tensors = header.tensors
        self._read: dict[str, Tensor] = {}

    @property
    def names(self) -> Collection[str]:
        """All of them."""
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Rows first."""
        return self._tensors[name].shape

    def refusal(self, name: str) -> str | None:
        """That it can't be dequantized here, if it can't."""
        try:
            refuse_undequantizable(self._access, self._tensors[name])
        except SourceError as error:
            return str(error)
        return None

    def read(self, name: str) -> Tensor:
        """Floats as they are stored, quantized numbers as float32."""
        if name not in self._read:
            tensor = self._tensors[name]
            check_matrix(self._access, tensor)
            self._read[name] = load(self._access, tensor)
            self.bytes_read += tensor.nbytes
        return self._read[name]


def gguf_config(header: Header) -> dict[str, Any]:
    """What a header says of heads and neurons, under the names that a config.json has for it."""
    kind = header.string("general.architecture")
    said = {
        "num_attention_heads": f"{kind}.attention.head_count",
        "num_key_value_heads": f"{kind}.attention.head_count_kv",
        "intermediate_size": f"{kind}.feed_forward_length",
    }
    return {name: number for name, key in said.items() if (number := header.number(key)) is not None}


def gguf_scale(header: Header) -> float | None:
    """As `embedding_scale`, by the header of a GGUF file."""
    kind = header.string("general.architecture")
    config = {
        "model_type": kind,
        "embedding_scale": header.number(f"{kind}.embedding_scale"),
        "hidden_size": header.number(f"{kind}.embedding_length"),
    }
    return embedding_scale(config)
