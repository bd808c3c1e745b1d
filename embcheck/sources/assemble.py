"""What every source gives: matrix, vocabulary and where both came from as one table, or a description of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from embcheck.table import EmbeddingTable, Provenance
from embcheck.table.table import dtype_name

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.spec import ModelSpec
    from embcheck.table.vocabulary import Vocabulary

_ALWAYS = frozenset({"tensor", "bytes", "bytes_total"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What would be read of a spec, under the names that ``inspect --json`` has for it."""

    tensor: str | None = None
    shape: tuple[int | None, ...]
    """``None`` where only reading it would tell."""
    dtype: str
    bytes: int | None
    bytes_total: int | None
    files: tuple[str, ...] = ()
    folder: str | None = None
    """Where they lie, where the spec does not say so."""
    space: str | None = None
    population: str | None = None
    revision: str | None = None

    def record(self) -> dict[str, object]:
        """As JSON types: what is not known is null, what does not apply is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None or key in _ALWAYS}


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
