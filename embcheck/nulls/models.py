"""Nulls for properties of two models: both keep their tokens and geometry, and lose what ties one to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.errors import NotMeasurable
from embcheck.nulls.tables import control_subset

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from embcheck.table import EmbeddingTable

__all__ = ["control_subsets", "shuffled_alignment"]


def shuffled_alignment(
    tables: tuple[EmbeddingTable, ...], parameters: Mapping[str, Any], rng: np.random.Generator
) -> tuple[tuple[EmbeddingTable, ...], Mapping[str, Any]]:
    """Permute the second table's vectors among the tokens that both have: each keeps its geometry."""
    import torch

    from embcheck.measures.models.alignment import align

    first, second = tables
    rows = align(tables).second
    target, source = (torch.from_numpy(r).to(second.vectors.device) for r in (rows, rows[rng.permutation(len(rows))]))
    shuffled = second.vectors.clone().index_copy_(0, target, second.vectors[source])
    return (first, second.with_vectors(shuffled)), parameters


def control_subsets(
    table: EmbeddingTable | tuple[EmbeddingTable, ...], limit: int, parameters: Mapping[str, Any]
) -> tuple[EmbeddingTable, ...]:
    """At most ``limit`` rows of a table, or of either of two: there, as far as may be, of the same shared tokens."""
    import numpy as np

    from embcheck.measures.models.alignment import align

    if not isinstance(table, tuple):
        return (control_subset(table, limit, parameters),)
    try:
        shared = align(table)
    except NotMeasurable:
        return tuple(control_subset(side, limit, parameters) for side in table)
    chosen = np.searchsorted(shared.first, table[0].probes(limit, among=shared.first))
    rows = (shared.first[chosen], shared.second[chosen])
    return tuple(control_subset(side, limit, parameters, also=own) for side, own in zip(table, rows, strict=True))
