"""Where a table came from: enough to tell whether two runs saw the same numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from embcheck import files
from embcheck.errors import SourceError
from embcheck.table.hashing import Hashing
from embcheck.table.parts import Parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

__all__ = ["Provenance", "dtype_name", "weights_sha256"]

_BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Provenance:
    """Where a table came from."""

    spec: str
    source: str
    shape: tuple[int, int]
    dtype: str
    weights: Tensor | None = field(default=None, repr=False, compare=False)
    """The stored tensor, which is hashed when somebody asks: that takes as long as reading it."""
    revision: str | None = None
    tensor: str | None = None
    bytes_read: int = 0
    scale: float = 1.0
    """What the model multiplies its embeddings by before its first layer; the table holds them without it."""
    notes: tuple[str, ...] = ()

    @cached_property
    def weights_sha256(self) -> str | None:
        """Hash over the stored tensor's bytes in row order; none where its file changed since it was read."""
        try:
            return None if self.weights is None else weights_sha256(self.weights)
        except SourceError:
            return None


def dtype_name(tensor: Tensor) -> str:
    """``float32`` for ``torch.float32``."""
    return str(tensor.dtype).removeprefix("torch.")


def weights_sha256(matrix: Tensor) -> str:
    """Hash of a (V, d) tensor's bytes in row order, read in blocks, whatever device it is on.

    Raises `SourceError` where a mapped file changed meanwhile.
    """
    stored: object = matrix
    return (stored.hashing if isinstance(stored, Parts) else Hashing(_blocks(matrix))).hexdigest()


def _blocks(matrix: Tensor) -> Iterator[Tensor]:
    step = max(1, _BLOCK_BYTES // max(1, matrix.shape[1] * matrix.element_size()))
    for start in range(0, len(matrix), step):
        files.refuse_changed()
        yield matrix[start : start + step].detach().cpu()
