"""The tensors of checkpoints and GGUF files as `NamedLayers` asks for them: each read once, and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources._choose import quantized
from embcheck.sources._gguf import check_matrix
from embcheck.sources._gguf_types import load, refuse_undequantizable
from embcheck.sources._tensors import FLOATS

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

    from embcheck.sources._bytes import RandomAccess
    from embcheck.sources._checkpoint import Checkpoint
    from embcheck.sources._gguf import Header
    from embcheck.sources._tensors import Stored

__all__ = ["CheckpointTensors", "GgufTensors", "gguf_config"]


class CheckpointTensors:
    """Those of a checkpoint in one file or several."""

    def __init__(self, checkpoint: Checkpoint, config: dict[str, Any]) -> None:
        self.origin = checkpoint.origin
        self.bytes_read = 0
        self._checkpoint = checkpoint
        self._config = config
        self._read: dict[str, Tensor] = {}

    @property
    def names(self) -> Collection[str]:
        """All of them."""
        return self._checkpoint.file_of.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """From the header of its file."""
        return self._stored(name).shape

    def refusal(self, name: str) -> str | None:
        """That it is quantized, if it is."""
        stored = self._stored(name)
        return None if stored.dtype in FLOATS else str(quantized(self._checkpoint, self._config, str(stored)))

    def read(self, name: str) -> Tensor:
        """Memory-mapped."""
        if name not in self._read:
            stored = self._stored(name)
            self._read[name] = self._checkpoint.load(stored)
            self.bytes_read += stored.nbytes
        return self._read[name]

    def _stored(self, name: str) -> Stored:
        return self._checkpoint.stored([name])[0]


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
