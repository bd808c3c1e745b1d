"""The last step of every source: matrix, vocabulary and where both came from, as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.table import EmbeddingTable, Provenance
from embcheck.table.table import dtype_name

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.spec import ModelSpec
    from embcheck.table.vocabulary import Vocabulary


def assemble(
    spec: ModelSpec,
    matrix: Tensor,
    vocabulary: Vocabulary,
    *,
    bytes_read: int,
    tensor: str | None = None,
    scale: float | None = None,
    notes: tuple[str, ...] = (),
) -> EmbeddingTable:
    """Make a table of a stored (V, d) matrix and its vocabulary."""
    factor = () if scale is None else (f"the model multiplies its embeddings by {scale:.6g}",)
    origin = Provenance(
        spec=spec.text,
        source=spec.scheme,
        shape=(matrix.shape[0], matrix.shape[1]),
        dtype=dtype_name(matrix),
        weights=matrix,
        revision=spec.revision,
        tensor=tensor,
        bytes_read=bytes_read,
        scale=1.0 if scale is None else scale,
        notes=(*factor, *notes),
    )
    return EmbeddingTable(matrix, vocabulary, origin)
