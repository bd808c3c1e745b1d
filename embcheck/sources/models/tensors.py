"""The tensors of a checkpoint as `NamedLayers` asks for them: each read once, and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.sources.naming.choose import quantized
from embcheck.sources.weights.stored import FLOATS

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

    from embcheck.sources.weights.checkpoint import Checkpoint
    from embcheck.sources.weights.stored import Stored

__all__ = ["CheckpointTensors"]


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
