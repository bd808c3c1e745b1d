"""One matrix of a model where the other should be, and a tied head that no longer is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.diagnosis.explanation import Explanation
from embcheck.diagnosis.view import sampled
from embcheck.errors import EmbcheckError
from embcheck.table.layers import output_of

if TYPE_CHECKING:
    from embcheck.table import EmbeddingTable

__all__ = ["head_overwritten", "other_matrix", "output_or_none"]

_ROWS = 1_000
_CLOSE = 1e-2  # relative: one may be rounded


def output_or_none(table: EmbeddingTable) -> EmbeddingTable | None:
    """A model's output matrix, where it has one of its own."""
    try:
        return output_of(table)
    except EmbcheckError:
        return None


def _apart(first: EmbeddingTable, second: EmbeddingTable) -> float:
    """Median relative distance of rows of one id; infinite where shapes differ."""
    if first.width != second.width:
        return float("inf")
    rows = sampled(np.arange(min(len(first.vectors), len(second.vectors))), _ROWS)
    a, b = first.gather(rows).double(), second.gather(rows).double()
    apart = torch.linalg.vector_norm(a - b, dim=1) / torch.linalg.vector_norm(a, dim=1).clamp(min=1e-300)
    return float(apart.nanmedian())


def other_matrix(
    reference: EmbeddingTable, candidate: EmbeddingTable, other: EmbeddingTable | None, *, is_output: bool
) -> Explanation | None:
    """Whether the candidate is the reference's other matrix: ``other``, its input if the reference is its output."""
    if other is None or _apart(other, candidate) > _CLOSE or _apart(reference, candidate) <= _CLOSE:
        return None
    own, instead = ("output", "input") if is_output else ("input", "output")
    return Explanation(
        "other_matrix",
        {"instead_of": own, "is": instead},
        sentence=f"the candidate is the reference's {instead} matrix, where its {own} matrix should be",
        remedy="name the tensor that is meant (--tensor, --matrix), or mend the conversion that maps the names",
    )


def head_overwritten(reference: EmbeddingTable, candidate: EmbeddingTable) -> Explanation | None:
    """Whether the reference is a model without an output matrix of its own, and the candidate has one."""
    after = output_or_none(candidate)
    if reference.layers is None or output_or_none(reference) is not None or after is None:
        return None
    if after.width != candidate.width or _apart(candidate, after) <= _CLOSE:
        return None
    return Explanation(
        "head_overwritten",
        {"apart": _apart(candidate, after)},
        sentence="the output matrix was tied to the input embedding and is another one now",
        remedy="tie them again (tie_weights), and leave the head out when saving; a resize or a merge wrote it apart",
    )
